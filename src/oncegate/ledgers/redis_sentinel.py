"""The ledger ``redis+sentinel:``: the master that Sentinels name. Everything else is in ``redis.py``."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from oncegate.ledgers import redis
from oncegate.ledgers.protocol import Ledger
from oncegate.ledgers.redis_url import parse_address

WEAKER_PROMISES = redis.WEAKER_PROMISES


def open_from_url(address: str, *, folder: pathlib.Path, accept: Sequence[str]) -> Ledger:
    """Open the ledger; see ``redis.open_from_url``."""
    return redis.RedisLedger(parse_address(address, scheme="redis+sentinel", folder=folder), accept=accept)


def create_from_url(address: str, *, folder: pathlib.Path) -> None:
    """Make the empty ledger; see ``redis.create_from_url``."""
    redis.create(parse_address(address, scheme="redis+sentinel", folder=folder))


def migrate_from_url(address: str, *, folder: pathlib.Path) -> bool:
    """Make the ledger or migrate it; see ``redis.migrate_from_url``."""
    return redis.migrate(parse_address(address, scheme="redis+sentinel", folder=folder))
