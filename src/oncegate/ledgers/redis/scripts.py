"""The scripts of the ledger ``redis:``: one Lua call for all callers that wait, and how records are stored.

    {prefix}meta      hash: schema, born_ms, swept_until_s, tries, refused_before_ms, plain_until_s, events (number of
                      the last one), fence
    {prefix}r:<id>    string: version (16 hexadecimal digits), forget_after_s (decimal), ":", the record
    {prefix}ids       sorted set of all ids, all of score 0, hence in order of id: for lists
    {prefix}due       sorted set of all ids by forget_after_s: for sweeps
    {prefix}events    stream: <number>-0, l = link id, e = JSON
    {prefix}receipts  the same, of downloads and uploads, which are the last to be forgotten; one count numbers both

A script is atomic, so it needs no locks and no order of keys. Rules that the scripts keep, and why:

- A record has no time-to-live. With one, the server's clock would delete records without ``swept_until``; set ahead by
  a day and back again, it would open used links. Only ``sweep`` deletes, after it stored its limit.
- Each script first compares the ledger's birth: if the ledger was flushed, or an empty replica took over, nothing is
  written and no link is said to be free.
- A script that only reads also writes: a ``DEL`` of a key that is never stored. It changes nothing, costs no fsync, and
  a replica refuses it; so a master that was demoted cannot answer with an older state.
- Versions are drawn at random, 64 bits: no version is given out twice, neither after a sweep nor when the server lost its
  last second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from oncegate.ledgers.protocol import Row
from oncegate.ledgers.redis.connection import Command, LedgerFault, RedisConnection, Reply, SaidNo

DONE, GONE, SWEPT = 1, 2, 3
WAIT_MS = 1_500
VERSION_CHARS = 16
_EXCHANGED = "ONCEGATE another ledger, or none, stands where this process began with one"

_GUARD = f"""
local meta = redis.call('HMGET', KEYS[1], 'born_ms', 'swept_until_s')
if meta[1] ~= ARGV[1] then return redis.error_reply('{_EXCHANGED}') end
local swept_until_s = tonumber(meta[2])
local function forget_after_s(stands) return tonumber(string.match(stands, '^%d+', {VERSION_CHARS + 1})) end
"""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the name that the server gives it."""

    text: str
    sha1: str


def _script(text: str) -> Script:
    # Redis names scripts by their SHA-1; nothing is kept secret or safe by it.
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


# WAIT waits for this connection's last write: a batch that only shows what stands has none unless it makes one.
_FENCE = "if ARGV[2] == '1' then redis.call('HINCRBY', KEYS[1], 'fence', 1) end\n"

# KEYS: meta, ids, due, then the records' keys. ARGV: born, whether replicas are waited for, the place of the id in a
# record's key, the least forget_after_s; then for each key its forget_after_s and its value. Where nothing stands and nothing is due, which is the rule, one command writes all (2.3 us of the
# server's CPU a record; a command for each takes 4.2), and one number answers for all: reading a list costs the client
# more than everything else.
INSERT = _script(
    _GUARD
    + _FENCE
    + f"""
local rows, ids, due = {{}}, {{}}, {{}}
for n = 4, #KEYS do
    local at, key = 2 * n - 7, KEYS[n]
    local id = string.sub(key, ARGV[3])
    rows[at], rows[at + 1] = key, ARGV[2 * n - 2]
    ids[at], ids[at + 1] = '0', id
    due[at], due[at + 1] = ARGV[2 * n - 3], id
end
if tonumber(ARGV[4]) > swept_until_s and redis.call('MSETNX', unpack(rows)) == 1 then
    redis.call('ZADD', KEYS[2], unpack(ids))
    redis.call('ZADD', KEYS[3], unpack(due))
    return {DONE}
end
local answers = {{}}
for n = 4, #KEYS do
    local id = string.sub(KEYS[n], ARGV[3])
    if tonumber(ARGV[2 * n - 3]) > swept_until_s and redis.call('SET', KEYS[n], ARGV[2 * n - 2], 'NX') then
        redis.call('ZADD', KEYS[2], 0, id)
        redis.call('ZADD', KEYS[3], ARGV[2 * n - 3], id)
        answers[n - 3] = {DONE}
    else
        answers[n - 3] = redis.call('GET', KEYS[n]) or {SWEPT}
    end
end
return answers
"""
)
# KEYS as of INSERT. ARGV: born, whether replicas are waited for, the place of the id in a record's key; then for each key
# its old version, its new forget_after_s and its new value.
REPLACE = _script(
    _GUARD
    + _FENCE
    + f"""
local answers = {{}}
for n = 4, #KEYS do
    local stands = redis.call('GET', KEYS[n])
    if stands and string.sub(stands, 1, {VERSION_CHARS}) == ARGV[3 * n - 8] then
        redis.call('SET', KEYS[n], ARGV[3 * n - 6])
        if forget_after_s(stands) ~= tonumber(ARGV[3 * n - 7]) then
            redis.call('ZADD', KEYS[3], ARGV[3 * n - 7], string.sub(KEYS[n], ARGV[3]))
        end
        answers[n - 3] = {DONE}
    else
        answers[n - 3] = stands or {GONE}
    end
end
return answers
"""
)
READ = _script(
    _GUARD
    + f"""
redis.call('DEL', KEYS[2])
local answers = {{}}
for n = 4, #KEYS do answers[n - 3] = redis.call('GET', KEYS[n]) or {GONE} end
return answers
"""
)
# ARGV: born, prefix of records' keys, lowest id as ZRANGEBYLEX has it, how many.
SCAN = _script(
    _GUARD
    + """
local page = {}
for _, id in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], ARGV[3], '+', 'LIMIT', 0, ARGV[4])) do
    page[#page + 1] = id
    page[#page + 1] = redis.call('GET', ARGV[2] .. id)
end
return page
"""
)
# ARGV: born, the limit and the tries that must be stored, the limit and the tries to store.
KEEP_SWEEP = _script(
    _GUARD
    + """
local tries = redis.call('HGET', KEYS[1], 'tries') or ''
if swept_until_s ~= tonumber(ARGV[2]) or tries ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 'swept_until_s', ARGV[4], 'tries', ARGV[5])
return 1
"""
)
# ARGV: born, then born_ms, refused_before_ms, plain_until_s and swept_until_s to store.
REBIRTH = _script(
    _GUARD
    + """
redis.call('HSET', KEYS[1], 'born_ms', ARGV[2], 'refused_before_ms', ARGV[3], 'plain_until_s', ARGV[4],
           'swept_until_s', ARGV[5], 'tries', '')
return 1
"""
)
# KEYS: meta, ids, due. ARGV: born, prefix of records' keys, the limit, how many. Answers how many were looked at, and how
# many of them forgotten. An earlier version does not keep `due`: what it replaced is looked up, and put where it belongs.
FORGET = _script(
    _GUARD
    + """
local ids = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[3], 'LIMIT', 0, ARGV[4])
local forgotten, gone, keys = 0, {}, {}
for _, id in ipairs(ids) do
    local stands = redis.call('GET', ARGV[2] .. id)
    if stands and forget_after_s(stands) > tonumber(ARGV[3]) then
        redis.call('ZADD', KEYS[3], string.match(stands, '^%d+', """
    + str(VERSION_CHARS + 1)
    + """), id)
    else
        gone[#gone + 1], keys[#keys + 1] = id, ARGV[2] .. id
        forgotten = forgotten + (stands and 1 or 0)
    end
end
if #gone > 0 then
    redis.call('DEL', unpack(keys))
    redis.call('ZREM', KEYS[2], unpack(gone))
    redis.call('ZREM', KEYS[3], unpack(gone))
end
return {#ids, forgotten}
"""
)
# KEYS as of FORGET. ARGV: as of SCAN. Puts ids into `due` that an earlier version has left out; answers the last id.
ADOPT = _script(
    _GUARD
    + """
local ids = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[3], '+', 'LIMIT', 0, ARGV[4])
for _, id in ipairs(ids) do
    local stands = redis.call('GET', ARGV[2] .. id)
    if stands then redis.call('ZADD', KEYS[3], 'NX', string.match(stands, '^%d+', """
    + str(VERSION_CHARS + 1)
    + """), id) end
end
return ids[#ids] or ''
"""
)
# KEYS: meta, events, receipts. ARGV: born, how many are kept of both together; then of each "1" for a receipt, link id
# and JSON. Receipts take the room of the others.
APPEND = _script(
    _GUARD
    + """
for n = 3, #ARGV, 3 do
    local number = redis.call('HINCRBY', KEYS[1], 'events', 1)
    local key = ARGV[n] == '1' and KEYS[3] or KEYS[2]
    redis.call('XADD', key, number .. '-0', 'l', ARGV[n + 1], 'e', ARGV[n + 2])
end
redis.call('XTRIM', KEYS[3], 'MAXLEN', '~', ARGV[2])
local left = math.max(0, ARGV[2] - redis.call('XLEN', KEYS[3]))
redis.call('XTRIM', KEYS[2], 'MAXLEN', '~', string.format('%d', left))
return 1
"""
)
# KEYS: meta, events, receipts. ARGV: born, XRANGE or XREVRANGE, from, to, count. Both in one look: between two, an event
# with a lower number than one that was seen could be appended, and whoever reads on from there would miss it.
EVENTS = _script(
    _GUARD
    + """
local function range(key) return redis.call(ARGV[2], key, ARGV[3], ARGV[4], 'COUNT', ARGV[5]) end
return {range(KEYS[2]), range(KEYS[3])}
"""
)
# ARGV: schema, born. Answers 1 if made, 0 if one stands, -1 if records of a ledger stand that has lost its meta.
CREATE = _script("""
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then return -1 end
redis.call('HSET', KEYS[1], 'schema', ARGV[1], 'born_ms', ARGV[2], 'swept_until_s', '-1')
return 1
""")


class Scripts:
    """Runs scripts on one connection.

    Args:
        connection: to the server.
        wait: replicas that must have a write; 0 waits for none.
    """

    def __init__(self, connection: RedisConnection, *, wait: int = 0) -> None:
        self._connection = connection
        self._wait = wait
        self._has_waitaof = True

    async def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int | str], *, waits: bool = False
    ) -> Reply:
        """Run one, and return its answer; with ``waits``, only when enough replicas have all that it wrote.

        Raises:
            LedgerFault: no answer, a refusal, or too few replicas.
        """
        tail: Command = (len(keys), *keys, *args)
        waiting = self._waiting() if waits and self._wait else ()
        answer, *waited = await self._connection.call([("EVALSHA", script.sha1, *tail), *waiting])
        if isinstance(answer, SaidNo) and answer.code == "NOSCRIPT":  # after a restart; certainly not carried out
            answer, *waited = await self._connection.call([("EVAL", script.text, *tail), *waiting])
        if isinstance(answer, SaidNo):
            await self._connection.drop()
            is_ours = answer.code == "ONCEGATE"
            raise LedgerFault(answer.words.removeprefix("ONCEGATE "), kind="exchanged" if is_ours else "lost")
        for reached in waited:
            await self._check_replicas(reached)
        return answer

    def _waiting(self) -> Sequence[Command]:
        # WAITAOF, since Redis 7.2, also waits until the replicas forced it to their disks.
        return [("WAITAOF", 1, self._wait, WAIT_MS)] if self._has_waitaof else [("WAIT", self._wait, WAIT_MS)]

    async def _check_replicas(self, reached: Reply | SaidNo) -> None:
        if isinstance(reached, SaidNo) and self._has_waitaof:
            # An older server, or one without an append-only file: WAIT is what it offers.
            self._has_waitaof = False
            (reached,) = await self._connection.call(self._waiting())
        count = reached[1] if isinstance(reached, list) and len(reached) > 1 else reached
        if not isinstance(count, int) or count < self._wait:
            raise LedgerFault(
                f"only {count} of {self._wait} replicas have it" if isinstance(count, int) else str(count)
            )


def row_of(link_id: bytes, value: Reply) -> Row:
    """Read a value.

    Raises:
        LedgerFault: it is none.
    """
    if isinstance(value, bytes):
        digits, colon, record = value[VERSION_CHARS:].partition(b":")
        if colon and digits.isdigit():
            return Row(link_id, record, value[:VERSION_CHARS].decode("ascii", "replace"), int(digits))
    raise LedgerFault("what stands there is no record of a ledger")
