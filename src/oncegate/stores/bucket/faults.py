"""What an error of obstore means: whose fault it is, and what the operator reads in the log.

The driver's texts hold URLs and paths: they go into the fault, which is for the log only, and never further. obstore
has one kind of error for a refused connection, a time-out and a 500, so those are told apart by the status in its text.
"""

from __future__ import annotations

import logging
import re

from obstore import exceptions

from oncegate.stores.protocol import KeyRefused, ObjectChanged, StoreBusy, StoreFault, StoreRefused

DRIVER_ERRORS = (exceptions.BaseError, OSError, ValueError, TimeoutError)
"""Everything that obstore raises for an expected fault; ``FileNotFoundError`` is an ``OSError``."""

TEXT_MAX = 400

_STATUS = re.compile(r"status(?: code)?:? (\d{3})")
_BUSY_STATUSES = frozenset({408, 409, 429})
_log = logging.getLogger("oncegate")


def fault_of(error: Exception, *, doing: str) -> StoreFault:
    """Say what an error of the driver is to the gateway.

    Args:
        error: one of ``DRIVER_ERRORS``.
        doing: what was asked of the store, for the log: ``look``, ``read``, ``upload``, ``list``, ``sweep``.
    """
    text = f"{doing}: {type(error).__name__}: {first_line(error)}"
    match error:
        case exceptions.PermissionDeniedError() | exceptions.UnauthenticatedError():
            return refused(text, doing=doing)
        case exceptions.PreconditionError() | FileNotFoundError():
            return ObjectChanged(text)
        case exceptions.InvalidPathError():
            return KeyRefused(text)
        case exceptions.NotSupportedError() | exceptions.UnknownConfigurationKeyError() | exceptions.NotModifiedError():
            return StoreFault(text)
        case ValueError():
            return KeyRefused(text)
        case _:
            return fault_of_status(int(found[1]), text) if (found := _STATUS.search(str(error))) else StoreBusy(text)


def fault_of_status(status: int, text: str) -> StoreFault:
    """Say what an HTTP status of the store is to the gateway; 5xx, and what may pass, is worth another try."""
    if status in {401, 403}:
        return refused(text, doing="request")
    is_busy = (status >= 500 and status != 501) or status in _BUSY_STATUSES
    return StoreBusy(text) if is_busy else StoreFault(text)


def first_line(error: Exception) -> str:
    """Return what an error says, without the driver's dump of itself."""
    return str(error).partition("\n")[0][:TEXT_MAX]


def refused(text: str, *, doing: str) -> StoreRefused:
    """Say that the store says no to us, and tell the log what to look at."""
    _log.warning(
        "the store refused a %s: check the credentials, the clock, and that they may get, put, delete and list "
        "objects and abort multipart uploads",
        doing,
    )
    return StoreRefused(text)
