"""Whether a Redis or Valkey can keep what a ledger promises, as ``probe`` and ``oncegate doctor`` ask.

Each weakness has a name, by which the configuration can accept it. What cannot be seen counts as unfit. What failover
loses: replication is asynchronous, a replica that takes over lacks the last writes, and their links open again; ``WAIT``
lowers that and does not remove it.

Amazon MemoryDB answers a write once its log, in several zones, has it, and a replica takes over with all of that log; it
has no append-only file, and refuses CONFIG (MemoryDB Developer Guide, "Consistency" and "Restricted commands"). So of
it only the policy of eviction is asked.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oncegate.ledgers.protocol import CLOCK_SKEW_MAX_S, LedgerFacts, LedgerUnfit, Repair
from oncegate.ledgers.redis.address import RedisAddress
from oncegate.ledgers.redis.connection import Call, LedgerFault, SaidNo

NO_AOF = "redis-no-aof"
EVERYSEC = "redis-everysec"
NO_FSYNC = "redis-no-fsync"
NO_FSYNC_ON_REWRITE = "redis-no-fsync-on-rewrite"
EVICTION = "redis-eviction"
FAILOVER = "redis-failover"
UNSEEN_PERSISTENCE = "redis-unseen-persistence"
WEAKER_PROMISES = frozenset({NO_AOF, EVERYSEC, NO_FSYNC, NO_FSYNC_ON_REWRITE, EVICTION, FAILOVER, UNSEEN_PERSISTENCE})

VERSION_MIN = (6, 2)
_MEMORYDB = "Amazon MemoryDB"
"""What its INFO says of ``os``."""
_SETTINGS = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory", "maxmemory-policy")

Weakness = tuple[str, str, str]
"""A name, what is the matter, and what to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What a ledger says of itself.

    Attributes:
        born_ms: when it was born, milliseconds since 1970 UTC.
        swept_until_s: how far it was swept.
        repair: of the last repair.
    """

    born_ms: int
    swept_until_s: int
    repair: Repair


async def check_fitness(call: Call, address: RedisAddress, meta: Meta, *, accept: Sequence[str]) -> LedgerFacts:
    """Look at the server.

    Args:
        call: sends commands.
        address: how it was found.
        meta: what the ledger says of itself.
        accept: weaker promises taken by name.

    Raises:
        LedgerUnfit: the guarantee cannot be kept; the message says what to set.
        LedgerFault: no answer.
    """
    info = await _info(call)
    _check_server(info)
    settings = await _settings(call)
    weaker = [*_eviction(info, settings)]
    if info.get("os") != _MEMORYDB:
        weaker = [*_persistence(info, settings), *weaker, *_failover(info, address)]
    for name, what, remedy in weaker:
        if name not in accept:
            raise LedgerUnfit(f"redis: {what}", remedy=f'{remedy}; or accept it: [ledger] accept = ["{name}"]')
    ahead_s = await clock_ahead_s(call)
    if abs(ahead_s) > CLOCK_SKEW_MAX_S:
        raise LedgerUnfit(f"redis: the server's clock is {ahead_s:+.0f} s from ours", remedy="set both by NTP")
    return LedgerFacts(
        born_ms=meta.born_ms,
        clock_ahead_s=ahead_s,
        accepted=tuple(name for name, _, _ in weaker),
        swept_until_s=meta.swept_until_s,
        repair=meta.repair,
    )


async def clock_ahead_s(call: Call) -> float:
    """Return the server's clock minus ours.

    Raises:
        LedgerFault: it does not tell the time.
    """
    asked_s = time.time()
    (told,) = await call([("TIME",)])
    answered_s = time.time()
    if not isinstance(told, list) or len(told) != 2:
        raise LedgerFault("TIME is refused: grant +time to this user")
    seconds, microseconds = (int(part) if isinstance(part, bytes | int) else 0 for part in told)
    return seconds + microseconds / 1e6 - (asked_s + answered_s) / 2


async def _info(call: Call) -> Mapping[str, str]:
    (told,) = await call([("INFO",)])
    if not isinstance(told, bytes):
        raise LedgerUnfit("redis: INFO is refused, so nothing can be seen", remedy="grant +info to this user")
    lines = (line.partition(":") for line in told.decode("utf-8", "replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


async def _settings(call: Call) -> Mapping[str, str] | None:
    """Read the configuration; None where it may not be seen, or only parts of it."""
    told = await call([("CONFIG", "GET", name) for name in _SETTINGS])
    settings: dict[str, str] = {}
    for name, pair in zip(_SETTINGS, told, strict=True):
        if isinstance(pair, SaidNo) or not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], bytes):
            return None
        settings[name] = pair[1].decode()
    return settings


def _check_server(info: Mapping[str, str]) -> None:
    version = info.get("redis_version", "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < VERSION_MIN:
        raise LedgerUnfit(f'redis: this is version "{version}"', remedy="Redis 6.2 or newer, or Valkey, is needed")
    if info.get("role") != "master":
        raise LedgerUnfit(
            "redis: this server is a replica", remedy="name its master, which takes writes, in [ledger] url"
        )
    if info.get("loading") != "0":
        raise LedgerUnfit("redis: the server is still loading its data", remedy="try again when it is done")
    if info.get("aof_enabled") == "1" and info.get("aof_last_write_status") != "ok":
        raise LedgerUnfit(
            "redis: the last write to the append-only file failed", remedy="look at the server's disk and log"
        )


def _persistence(info: Mapping[str, str], settings: Mapping[str, str] | None) -> Sequence[Weakness]:
    if (settings or {}).get("appendonly", "yes") != "yes" or info.get("aof_enabled") != "1":
        return [(NO_AOF, "there is no append-only file, so a restart opens used links", "set appendonly yes")]
    if settings is None:
        what = "CONFIG is refused, so whether writes are forced to the disk cannot be seen"
        remedy = "grant +config|get to this user, and set appendfsync always, no-appendfsync-on-rewrite no"
        return [(UNSEEN_PERSISTENCE, what, remedy)]
    found: list[Weakness] = []
    if settings["appendfsync"] == "everysec":
        what = "a crash loses the last second or two, whose links open again"
        found.append((EVERYSEC, what, "set appendfsync always"))
    elif settings["appendfsync"] != "always":
        found.append((NO_FSYNC, "a crash loses what the system had not written yet", "set appendfsync always"))
    if settings["no-appendfsync-on-rewrite"] != "no":
        what = "nothing is forced to the disk during a rewrite"
        found.append((NO_FSYNC_ON_REWRITE, what, "set no-appendfsync-on-rewrite no"))
    return found


def _eviction(info: Mapping[str, str], settings: Mapping[str, str] | None) -> Sequence[Weakness]:
    # Without maxmemory no policy acts; but maxmemory can be set at any time while the server runs.
    policy = (settings or {}).get("maxmemory-policy", info.get("maxmemory_policy", ""))
    if policy == "noeviction":
        return ()
    is_limited = (settings or {}).get("maxmemory", info.get("maxmemory", "")) != "0"
    when = "when memory is full" if is_limited else "as soon as somebody sets maxmemory"
    what = f'maxmemory-policy is "{policy}": {when}, records may be thrown away'
    return ((EVICTION, what, "set maxmemory-policy noeviction"),)


def _failover(info: Mapping[str, str], address: RedisAddress) -> Sequence[Weakness]:
    replicas = info.get("connected_slaves", "?")
    if address.service:
        what = "Sentinels may let a replica take over"
    elif info.get("cluster_enabled") == "1":
        what = "this is a node of a cluster, whose replica may take over"
    elif replicas == "1":
        what = "a replica is attached, and may take over"
    elif replicas != "0":
        what = f"{replicas} replicas are attached, and one may take over"
    else:
        return ()
    what = f"{what} without the last writes, whose links open again"
    return ((FAILOVER, what, "use a server without replicas"),)
