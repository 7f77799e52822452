"""Errors for the operator: something cannot be used as it is configured. The command line ends with exit status 2.

    Unfit
    |-- SettingsError   oncegate.toml or a variable            (settings/reading.py)
    |-- KeyUnfit        a key, or the key group                (keys/pem.py)
    |-- LedgerUnfit     the ledger                             (ledgers/protocol.py)
    |-- StoreUnfit      the store                              (stores/protocol.py)
    |-- TokensUnfit     the tokens of the control API          (control/tokens.py)
    `-- CannotListen    an address or a socket that cannot be listened on  (server/binding.py)

Texts are read by the operator and may name paths and hosts, never a key, a token or a password.
"""

from __future__ import annotations

from typing import Self

from oncegate.links.errors import OncegateError


class Unfit(OncegateError):
    """Something cannot be used as configured.

    Attributes:
        what: what is the matter, as a sentence without its full stop.
        remedy: what to change; empty where ``what`` says it, or nothing is known.
        where: the setting, file or variable; empty where ``what`` names it.
    """

    def __init__(self, what: str, *, remedy: str = "", where: str = "") -> None:
        self.what = what
        self.remedy = remedy
        self.where = where
        super().__init__(what, remedy, where)

    @property
    def words(self) -> str:
        """Where and what, without the remedy."""
        return ": ".join(part for part in (self.where, self.what) if part)

    def at(self, where: str) -> Self:
        """Return the same error with the setting, file or variable that it is about."""
        return type(self)(self.what, remedy=self.remedy, where=where)

    def __str__(self) -> str:
        """Where, what and remedy in one line: ``where: what: remedy``."""
        return ": ".join(part for part in (self.words, self.remedy) if part)
