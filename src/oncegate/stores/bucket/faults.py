"""What an error of obstore means: the fault for the gateway, and the words for the operator's log.

The driver's texts hold URLs and paths, so they go into the fault and from there to the log only. obstore has one class
of error for a refused connection, a time-out and a 500: they are told apart by the status in its text.
"""

from __future__ import annotations

import logging
import re

from obstore import exceptions

from oncegate.stores.protocol import KeyRefused, ObjectChanged, StoreBusy, StoreFault, StoreRefused

DRIVER_ERRORS = (exceptions.BaseError, OSError, ValueError, TimeoutError)
"""All that obstore raises for expected faults; ``FileNotFoundError`` is an ``OSError``."""

TEXT_MAX = 400

_STATUS = re.compile(r"status(?: code)?:? (\d{3})")
_BUSY_STATUSES = frozenset({408, 409, 429})
_log = logging.getLogger("oncegate")


def fault_of(error: Exception, *, doing: str) -> StoreFault:
    """Return the fault that an error of the driver means.

    Args:
        error: one of ``DRIVER_ERRORS``.
        doing: the call, for the log: ``look``, ``read``, ``upload``, ``list``, ``sweep``.
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
    """Return the fault that an HTTP status of the store means: ``StoreBusy`` if another try may succeed."""
    if status in {401, 403}:
        return refused(text, doing="request")
    is_busy = (status >= 500 and status != 501) or status in _BUSY_STATUSES
    return StoreBusy(text) if is_busy else StoreFault(text)


def first_line(error: Exception) -> str:
    """Return the first line of an error: after it, the driver prints its internal state."""
    return str(error).partition("\n")[0][:TEXT_MAX]


def refused(text: str, *, doing: str) -> StoreRefused:
    """Return the fault for a request that the store does not allow us, and log what to check."""
    _log.warning(
        "the store refused a %s: check the credentials, the clock, and that they may get, put, delete and list "
        "objects and abort multipart uploads",
        doing,
    )
    return StoreRefused(text)
