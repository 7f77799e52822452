"""Runs a function as awslambdaric does, where that is not installed: asks the Runtime API for events and answers them.

Started as a program: ``python runtime_client.py index.handler``, with the variables that AWS Lambda sets. Standard
library only, and nothing of oncegate: a function must find no more here than there.

Source: AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes".
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
import urllib.request
from collections.abc import Callable
from typing import Any

_API = "2018-06-01/runtime"


def main() -> None:
    """Serve events until the process is ended."""
    place = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/{_API}"
    module, _, name = sys.argv[1].rpartition(".")
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    try:
        handler: Callable[[Any, Any], Any] = getattr(importlib.import_module(module), name)
    except Exception:  # noqa: BLE001  whatever the module raises is told, as Lambda tells it
        _post(f"{place}/init/error", traceback.format_exc())
        sys.exit(1)
    while True:
        with urllib.request.urlopen(f"{place}/invocation/next") as answer:  # noqa: S310  http, to the referee
            request_id, event = answer.headers["Lambda-Runtime-Aws-Request-Id"], json.load(answer)
        try:
            result = json.dumps(handler(event, None))
        except Exception:  # noqa: BLE001  whatever the function raises is told, as Lambda tells it
            _post(f"{place}/invocation/{request_id}/error", traceback.format_exc())
        else:
            _post(f"{place}/invocation/{request_id}/response", result, is_text=True)


def _post(url: str, content: str, *, is_text: bool = False) -> None:
    body = content if is_text else json.dumps({"errorMessage": content})
    with urllib.request.urlopen(url, body.encode()):  # noqa: S310  http, to the referee
        pass


if __name__ == "__main__":
    main()
