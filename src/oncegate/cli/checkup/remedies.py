"""What to do about a part that does not answer or refuses us: from the words of servers and drivers to a remedy.

The words come from PostgreSQL, Redis, AWS and the system, so they are looked for by what they have in common. The first
row that fits is taken: what was said most exactly comes first. A remedy may hold groups of its pattern, by number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ROWS: Sequence[tuple[str, str]] = (
    # these two list names, which the rows below would take for what went wrong
    (
        r"^\[ledger\] accept: .* it knows: (.+)$",
        "correct [ledger] accept, or take it out; names that may stand there: {0}",
    ),
    (r"^\[ledger\] url: .* is no option", "correct {setting}"),
    (r"accept = \[", "change the server as it says; what accepting would cost is in docs/reference/accept.md"),
    (r"pgbouncer=1", "add pgbouncer=1 to the options of {setting}"),
    (r"ledger migrate", "oncegate ledger migrate"),
    (r"standby|replica: name", "name the server that takes writes in {setting}"),
    (r"(?i)backup|damaged", "restore it; then set [ledger] accept_from to this moment"),
    (
        r"(?i)\bgrant\b|NOPERM|permission denied|lacks rights|may not|AccessDenied",
        "grant its user its rights: docs/guides/choosing-a-ledger.md and docs/reference/stores.md list them",
    ),
    (
        r"(?i)password|authentication|credentials|SignatureDoesNotMatch|InvalidAccessKeyId",
        "correct user and password, or keys, in {setting} or its variable",
    ),
    (r"(?i)certificate|hostname|\bSSL|\bTLS|no encryption", "correct the scheme and the options for TLS in {setting}"),
    (r"(?i)name or service|gaierror|name resolution|dns error", "correct the host in {setting}; look at DNS"),
    (
        r"(?i)no such bucket|NoSuchBucket|database \"[^\"]*\" does not exist",
        "make it, or correct its name in {setting}",
    ),
    (
        # before the next: the driver's text of a 503 tells of its retry_timeout
        r"(?i)status code: 5\d\d|answered 5\d\d",
        "look at the log of the server in {setting}: it fails or is overloaded; then look again",
    ),
    (
        r"(?i)no answer|does not answer|connect|timed? ?out|MasterNotFound|error sending",
        "start the server and look at the firewall, or correct host, port and TLS in {setting}",
    ),
    (r"pip install", "install what is missing, or correct {setting}"),
    (r"(?i)folder|regular file", "make it, or correct {setting}"),
    (r"^\[ledger\]|^store\.url", "correct {setting}"),
)


def remedy_for(words: str, setting: str) -> str:
    """Say what to do.

    Args:
        words: what was said.
        setting: where the part is named: ``[ledger] url``.
    """
    for pattern, remedy in _ROWS:
        found = re.search(pattern, words)
        if found:
            return remedy.format(*found.groups(), setting=setting)
    return "change what it names, then look again"
