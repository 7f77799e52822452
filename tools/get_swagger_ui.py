"""Get the files of Swagger UI that ``/docs`` of the control listener serves, or check that they are the pinned ones.

    tools/get_swagger_ui.py            fetch the pinned release by npm, check its integrity hash, write its files
    tools/get_swagger_ui.py --check    say which file differs from the pinned release, exit status 1; asks no network

A later release: change VERSION and INTEGRITY (``npm view swagger-ui-dist dist.integrity``), run it, and put the sums
that it prints into FILES. npm alone would also install what the package names as its dependency, which counts
installations; so only the archive is taken.
"""

from __future__ import annotations

import base64
import hashlib
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "src" / "oncegate" / "control" / "swagger_ui"
VERSION = "5.35.0"
INTEGRITY = "sha512-U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ=="
FILES: Mapping[str, str] = {
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}
"""SHA-256 by name. The licence texts go into the wheel with the code that they are about."""


def wrong_files(folder: pathlib.Path) -> list[str]:
    """Say of each file what is the matter with it; nothing if all are the pinned ones.

    Args:
        folder: where they are.
    """
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    said = [f"{name} is not the one of swagger-ui-dist {VERSION}" for name in FILES if found.get(name) != FILES[name]]
    return said + [f"{name} is in no release" for name in sorted(found.keys() - FILES.keys())]


def fetch(folder: pathlib.Path) -> None:
    """Write the files of the pinned release.

    Args:
        folder: where they go.

    Raises:
        SystemExit: what npm gave has another hash.
    """
    with tempfile.TemporaryDirectory() as scratch:
        command = [shutil.which("npm") or "npm", "pack", "--silent", f"swagger-ui-dist@{VERSION}"]
        subprocess.run(command, cwd=scratch, check=True, timeout=300, stdout=subprocess.DEVNULL)
        (archive,) = pathlib.Path(scratch).glob("*.tgz")
        given = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if given != INTEGRITY:
            raise SystemExit(f"npm gave an archive of {given}, pinned is {INTEGRITY}")
        with tarfile.open(archive) as opened:
            for name in FILES:
                member = opened.extractfile(f"package/{name}")
                assert member is not None, name
                (folder / name).write_bytes(member.read())


def main() -> int:
    """Fetch and compare, or compare alone."""
    if "--check" not in sys.argv[1:]:
        fetch(FOLDER)
    wrong = wrong_files(FOLDER)
    for line in wrong:
        print(line)
    if wrong and "--check" not in sys.argv[1:]:
        for name in FILES:
            print(f'    "{name}": "{hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()}",')
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
