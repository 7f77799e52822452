"""What to do about a part that does not answer or refuses us, where the part itself does not know.

The words come from PostgreSQL, Redis, AWS and the system, never from oncegate: our own errors carry their remedy
(``oncegate.unfit``). So the rows look for what such words have in common. The first row that fits is taken: what is said
most exactly comes first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from oncegate.unfit import Unfit

_ROWS: Sequence[tuple[str, str]] = (
    (
        r"(?i)NOPERM|permission denied|may not|AccessDenied",
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
)
_LOOK = "change what it names, then look again"


def remedy_of(unfit: Unfit, setting: str) -> str:
    """Say what to do: the error's own remedy, or what its words are known for.

    Args:
        unfit: what is the matter.
        setting: where the part is named: ``[ledger] url``.
    """
    words = str(unfit)
    return unfit.remedy or _known(words, setting) or (f"correct {unfit.where}" if unfit.where else _LOOK)


def remedy_for(words: str, setting: str) -> str:
    """Say what to do about foreign words.

    Args:
        words: what a driver, a server or the system said.
        setting: where the part is named: ``[ledger] url``.
    """
    return _known(words, setting) or _LOOK


def _known(words: str, setting: str) -> str:
    found = (remedy for pattern, remedy in _ROWS if re.search(pattern, words))
    return next(found, "").format(setting=setting)
