"""What a deployment leaves on this machine: a configuration with which every other command works, and the public keys.

The configuration is replaced as long as it begins with ``MARK``, even if its other lines were changed; whoever edits it
takes that line out to keep it. Public keys are always written. Other ``.pem`` files in ``keys/`` are deleted, unless
the configuration is kept.
"""

from __future__ import annotations

from pathlib import Path

from oncegate.atomic_file import replace_file
from oncegate.aws.deploying.configuration import configuration_text
from oncegate.aws.deploying.deployer import Deployed
from oncegate.aws.stacks.options import Options

MARK = "# written by 'oncegate aws deploy', and again by its next run; take this line out to keep your own"

_HEAD = """\
{mark}
# Links of the deployment {name}: CloudFront serves them, this file makes, lists and revokes them.

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
    head = _HEAD.format(mark=MARK, name=options.name)
    text = head + configuration_text(options, domain=deployed.domain, signing=deployed.signing)
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
