"""``oncegate aws bundle``: the code of the API's function, made where there is an index, for a deploy where there is none."""

from __future__ import annotations

from pathlib import Path

import click

from oncegate.cli.examples import examples


@click.command(epilog=examples("oncegate aws bundle api.zip"))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--python", default="3.13", show_default=True, help="Version that runs it; Lambda's is the default.")
def command(*, file: Path, python: str) -> None:
    """Write the API's code as a zip file, for 'oncegate aws deploy --bundle FILE'.

    It holds this version and, as wheels for Linux on x86-64, the installed versions of what it requires. The same
    installation writes the same file.
    """
    from oncegate.atomic_file import replace_file
    from oncegate.aws.deploying.bundle import OwnBundle

    made = OwnBundle(python=python)
    content = made.content()
    replace_file(file, content, mode=0o644)
    click.echo(f"wrote {file}: {len(content) / 1e6:.1f} MB, {made.key}", err=True)
