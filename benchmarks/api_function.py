"""What the control API costs as a function of Lambda: CPU of a start, its share of the control API, a warm call, memory.

    python benchmarks/api_function.py

CPU of processes that import nothing, the control API, the function; then of the first call and of a warm one, over
sqlite: and file:, with a key of P-256 in a file. Lambda's network and KMS are not in it.
"""

from __future__ import annotations

import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from oncegate.aws.stacks.api_variables import AUTHORIZER, CONFIGURATION, PUBLIC_KEYS, SECRET
from oncegate.keys.pem import new_key_pair
from oncegate.ledgers.opening import create_ledger
from oncegate.service.api_function import ApiFunction

STARTS, CALLS = 7, 200
IMPORTS = {"python": "pass", "the control API": "oncegate.control.app", "the function": "oncegate.service.api_function"}


def cpu_s(code: str) -> float:
    """CPU of a process that runs some code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def environ_of(folder: Path) -> dict[str, str]:
    """The function's variables, over this machine."""
    private, public = new_key_pair("ecdsa")
    (folder / "objects").mkdir()
    (folder / "key.pem").write_bytes(private)
    create_ledger(f"sqlite:{folder}/ledger.db", folder=folder)
    text = f"""
viewer = {{ public_url = "https://links.example.com" }}
store = {{ url = "file:{folder}/objects" }}
ledger = {{ url = "sqlite:{folder}/ledger.db" }}
keys = {{ group = "./keys", signing = "{folder}/key.pem" }}
"""
    return {
        CONFIGURATION: text,
        PUBLIC_KEYS: json.dumps({"K1": public.decode()}),
        AUTHORIZER: "iam",
        SECRET: "s" * 43,
    }


def main() -> None:
    """Measure, and print."""
    for what, name in IMPORTS.items():
        code = name if name == "pass" else f"import {name}"
        print(f"{what}: {statistics.median(cpu_s(code) for _ in range(STARTS)):.3f} s CPU to import")
    event: dict[str, Any] = {
        "version": "2.0",
        "rawPath": "/get-url",
        "rawQueryString": "key=a.txt",
        "headers": {},
        "requestContext": {
            "http": {"method": "GET", "sourceIp": "127.0.0.1"},
            "authorizer": {"iam": {"callerId": "A"}},
        },
    }
    with tempfile.TemporaryDirectory() as name:
        environ = environ_of(Path(name))
        times = [time.process_time()]
        function = ApiFunction(environ, Path(name) / "laid", log_descriptor=(Path(name) / "log").open("w").fileno())
        for _ in range(CALLS):
            times.append(time.process_time())
            function.answer(event)
        times.append(time.process_time())
        calls = [after - before for before, after in itertools.pairwise(times[1:])]
        print(f"opened: {times[1] - times[0]:.3f} s CPU; first call: {calls[0]:.3f} s; warm, median: "
              f"{statistics.median(calls) * 1000:.2f} ms")  # fmt: skip
        print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
        function.close()


if __name__ == "__main__":
    main()
