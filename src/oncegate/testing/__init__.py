"""For the tests of those who build on oncegate: suites for ledgers and stores, faults, installations, a CloudFront.

    from oncegate.testing import Installation, LedgerSuite, StoreSuite

Real servers are in ``oncegate.testing.servers``; the fixture of a CloudFront on localhost is the plug-in
``oncegate.testing.cloudfront``. Each name is imported when it is first asked for, so a test of links alone starts no
driver of a ledger.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oncegate.testing.faulty_ledger import FaultyLedger
    from oncegate.testing.installation import Installation
    from oncegate.testing.ledger_suite import LedgerSuite
    from oncegate.testing.store_suite import StoreSuite
    from oncegate.testing.suite import CheckFailed, CheckSkipped

__all__ = ["CheckFailed", "CheckSkipped", "FaultyLedger", "Installation", "LedgerSuite", "StoreSuite"]

_MODULES = {
    "CheckFailed": "suite",
    "CheckSkipped": "suite",
    "FaultyLedger": "faulty_ledger",
    "Installation": "installation",
    "LedgerSuite": "ledger_suite",
    "StoreSuite": "store_suite",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
