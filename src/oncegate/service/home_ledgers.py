"""How the ledger of a home is opened: by a gateway, by the API function and by commands alike."""

from __future__ import annotations

from oncegate.ledgers.opening import known_promises, open_ledger
from oncegate.ledgers.protocol import Ledger
from oncegate.settings import Settings


def open_home_ledger(settings: Settings, home: str = "") -> Ledger:
    """Open the ledger of a home; nothing is touched before it is probed.

    Args:
        settings: of the configuration.
        home: as tickets name it; empty: the installation's own.

    Raises:
        LedgerUnfit: the URL names none.
    """
    url, accept = settings.ledger_url(home), settings.ledger.accept
    # a promise that is accepted of one ledger may be unknown to the kind of another
    known = accept if url == settings.ledger.url else known_promises(url, accept)
    return open_ledger(url, folder=settings.folder, accept=known)
