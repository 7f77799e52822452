"""Run the programs that people use on a link, and write docs/clients.md; of those that are not installed it keeps the row.

    tools/gen_clients.py                     all that are installed
    tools/gen_clients.py curl 'wget -O'      those alone

tests/system/test_clients.py checks that the verdicts are still so. Takes two minutes.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from clients import CLIENTS, Trial, programs, read_page, write_page  # noqa: E402  beside the tests
from oncegate.testing.installation import Installation  # noqa: E402
from oncegate.testing.servers.process import ProgramMissing  # noqa: E402


def main() -> int:
    """Run and write."""
    wanted = set(sys.argv[1:]) or {client.name for client in CLIENTS}
    rows = read_page()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("gate", "saved"):
            (pathlib.Path(folder) / name).mkdir()
        made = Installation(pathlib.Path(folder) / "gate")
        with made.serve():
            trial = Trial(
                made=made,
                programs=programs(ROOT / ".parts"),
                folder=pathlib.Path(folder) / "saved",
            )
            for client in CLIENTS:
                if client.name not in wanted:
                    continue
                try:
                    began_s = time.monotonic()
                    rows[client.name] = (trial.version_of(client), trial.judge(client))
                    print(client.name, *rows[client.name], f"{time.monotonic() - began_s:.1f} s", flush=True)
                except ProgramMissing as missing:
                    print(f"{missing}: {client.name} keeps its row")
    write_page(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
