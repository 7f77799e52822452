"""What a deployment leaves on this machine: a configuration with which every other command works, and the public keys.

The configuration is replaced as long as it begins with ``MARK``, even if its other lines were changed; whoever edits it
takes that line out to keep it. Public keys are always written. Other ``.pem`` files in ``keys/`` are deleted, unless
the configuration is kept.
"""

from __future__ import annotations

from pathlib import Path

from oncegate.atomic_file import replace_file
from oncegate.aws.deploying.deployer import Deployed
from oncegate.aws.stacks.options import Options

MARK = "# written by 'oncegate aws deploy', and again by its next run; take this line out to keep your own"

_TEMPLATE = """\
{mark}
# Links of the deployment {name}: CloudFront serves them, this file makes, lists and revokes them.

[viewer]
public_url = "https://{domain}"

[links]
plain_links = "{plain_links}"
{home}
[store]
url = "s3://{bucket}{folder}"

[store.options]
aws_region = "{region}"

[ledger]
url = "dynamodb://{name}?region={region}"
{homes}
[keys]
group = "./keys"
signing = "{signing}"
"""


def write_configuration(folder: Path, options: Options, deployed: Deployed) -> list[Path]:
    """Write the configuration and the key group.

    Args:
        folder: made where it is missing.
        options: of the deployment.
        deployed: its domain, signing key and public keys, read from the stacks.

    Returns:
        The files that were written; empty if each already had this content.
    """
    first = options.first
    text = _TEMPLATE.format(
        mark=MARK,
        name=options.name,
        domain=deployed.domain,
        plain_links=options.plain_links,
        home=f'home = "{first.name}"\n' if first.name else "",
        bucket=options.bucket,
        folder=options.folder,
        region=first.region,
        homes=_homes_text(options),
        signing=deployed.signing,
    )
    (folder / "keys").mkdir(parents=True, exist_ok=True)
    wanted = {folder / "keys" / f"{key_id}.pem": pem for key_id, pem in deployed.keys.items()}
    config = folder / "oncegate.toml"
    if not config.exists() or config.read_text().startswith(MARK):
        wanted[config] = text
        for path in (folder / "keys").glob("*.pem"):
            if path not in wanted:
                path.unlink()  # no longer trusted: otherwise explain would say that its links open
    written: list[Path] = []
    for path, content in wanted.items():
        if not path.exists() or path.read_text() != content:
            replace_file(path, content.encode(), mode=0o644)
            written.append(path)
    return written


def _homes_text(options: Options) -> str:
    """The tables of further homes: links that name one are counted there, and found there."""
    lines = [f'{home.name} = "dynamodb://{options.name}?region={home.region}"' for home in options.homes[1:]]
    return "\n".join(["", "[ledger.homes]", *lines, ""]) if lines else ""
