"""How the ledgers of ``[ledger.homes]`` are opened, by a gateway and by the API function alike."""

from __future__ import annotations

from collections.abc import Callable

from oncegate.ledgers.opening import known_promises, open_ledger
from oncegate.ledgers.protocol import Ledger
from oncegate.settings import Settings


def home_opener(settings: Settings) -> Callable[[str], Ledger]:
    """Return what opens the ledger of a home by its name; it touches nothing."""

    def open_home(name: str) -> Ledger:
        url = settings.ledger_url(name)
        return open_ledger(url, folder=settings.folder, accept=known_promises(url, settings.ledger.accept))

    return open_home
