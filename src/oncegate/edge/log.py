"""Log lines of the function: one JSON object each, which Lambda sends to CloudWatch. Never a URL, a claim id or a secret."""

from __future__ import annotations

import json
import sys


def log(event: str, **fields: str | int | None) -> None:
    """Write a line."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
