"""The ledger in a newer Redis and in Valkey, over their own TLS, and where Sentinels let a replica take over; all real."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pathlib
import shutil
from dataclasses import dataclass

import pytest

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, LedgerUnfit, Stands, Unknown
from oncegate.testing.certificates import make_authority
from oncegate.testing.installation import Installation
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.ledger_suite import LedgerSuite
from oncegate.testing.raw_http import ask
from oncegate.testing.servers.redis import RedisServer

PROGRAMS = ["redis-server", *(["valkey-server"] if shutil.which("valkey-server") else [])]
"""Debian has Valkey from 13 on, and 12 among its backports; .ci/run takes it where it is to be had."""
BODY = b"only one of you may read this: " + bytes(range(256)) * 40
TOLD_WITHIN_S = 5.0


async def with_ledger(url, tmp_path, test, *accept):
    """Run ``test(ledger)`` on a probed ledger, and close it."""
    ledger = open_ledger(url, folder=tmp_path, accept=accept)
    try:
        await ledger.probe()
        return await test(ledger)
    finally:
        await ledger.aclose()


async def claim(ledger):
    """Take a link."""
    return await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S)


# Newer servers.


@pytest.fixture(scope="module", params=PROGRAMS)
def newer(request, tmp_path_factory, require_tool):
    """Give the suite over a server of a package."""
    require_tool(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    with RedisServer(folder, program=request.param) as server:
        create_ledger(server.url, folder=folder)
        yield LedgerSuite(functools.partial(open_ledger, server.url, folder=folder), rounds=5, kills=2)


@pytest.mark.anyio
@pytest.mark.parametrize("name", LedgerSuite.CHECKS)
async def test_a_newer_server_passes(name: str, newer) -> None:
    """The scripts, and what INFO and CONFIG say, are those of Redis 6.2; later servers and Valkey must agree."""
    await newer.run(name)


# TLS.


@pytest.fixture(scope="module", params=PROGRAMS)
def secured(request, tmp_path_factory, require_tool):
    """Give a server with TLS, an authority of our own, and a user with no more rights than the guide says."""
    require_tool(request.param)
    folder = tmp_path_factory.mktemp("secured")
    authority = make_authority()
    (folder / "ca.pem").write_bytes(authority.certificate)
    (folder / "other.pem").write_bytes(make_authority().certificate)
    with RedisServer(folder, program=request.param, tls=authority.issue("127.0.0.1")) as server:
        create_ledger(server.url, folder=folder)
        rights = ["~{oncegate}:*", "+@read", "+@write", "+@scripting", "+info", "+time", "+ping", "+config|get"]
        server.cli("ACL", "SETUSER", "gate", "on", ">secret", *rights)
        yield folder, server


@pytest.mark.anyio
async def test_tls_is_spoken_by_a_user_with_few_rights(secured) -> None:
    """``rediss:`` with the authority's certificate: claims are taken, and the server is seen to be fit."""
    folder, server = secured
    url = f"rediss://gate:secret@127.0.0.1:{server.tls_port}/0?ssl_ca_certs=./ca.pem"
    assert isinstance((await with_ledger(url, folder, claim)), Done)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("scheme", "host", "query", "words"),
    [
        ("rediss", "127.0.0.1", "?ssl_ca_certs=./other.pem", "certificate"),
        ("rediss", "127.0.0.1", "", "certificate"),
        ("rediss", "localhost", "?ssl_ca_certs=./ca.pem", "certificate|[Hh]ostname"),
        ("redis", "127.0.0.1", "", "cannot be used"),
    ],
    ids=["another authority", "no authority", "another name", "no TLS"],
)
async def test_without_the_right_certificate_nothing_is_said(scheme, host, query, words, secured) -> None:
    """Whoever stands in between would read every claim, and the password first; the refusal does not repeat it."""
    folder, server = secured
    with pytest.raises(LedgerUnfit, match=words) as refusal:
        await with_ledger(f"{scheme}://gate:secret@{host}:{server.tls_port}/0{query}", folder, claim)
    assert "secret" not in str(refusal.value)


@pytest.mark.anyio
async def test_a_wrong_password_is_said_without_it(secured) -> None:
    """What to look at is told, and nothing that could be tried."""
    folder, server = secured
    url = f"rediss://gate:guessed-wrong@127.0.0.1:{server.tls_port}/0?ssl_ca_certs=./ca.pem"
    with pytest.raises(LedgerUnfit, match="invalid username-password") as refusal:
        await with_ledger(url, folder, claim)
    assert "guessed-wrong" not in str(refusal.value)


# Sentinels.


@dataclass
class Watched:
    """A master, its replica, and three Sentinels of which two must agree."""

    master: RedisServer
    replica: RedisServer
    url: str

    def offset(self, server: RedisServer) -> str:
        """How much of the master's stream a server has."""
        lines = dict(line.split(":", 1) for line in server.cli("INFO", "replication").split() if ":" in line)
        return lines["master_repl_offset"]

    def has_all(self) -> bool:
        """Whether the replica is attached and has what the master has."""
        is_up = "master_link_status:up" in self.replica.cli("INFO", "replication")
        return is_up and self.offset(self.master) == self.offset(self.replica)


@pytest.fixture
def watched(request, tmp_path, until):
    """Give a fresh set, whose Sentinels know the replica and each other; they find the master dead after 500 ms or more."""
    after_ms = getattr(request, "param", 500)
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(RedisServer(tmp_path))
        follows = {"replicaof": f"127.0.0.1 {master.port}"}
        replica = stack.enter_context(RedisServer(tmp_path, settings=follows))
        lines = (
            f"sentinel monitor links 127.0.0.1 {master.port} 2\n"
            f"sentinel down-after-milliseconds links {after_ms}\nsentinel failover-timeout links 5000\n"
        )
        sentinels = [stack.enter_context(RedisServer(tmp_path, sentinel=lines)) for _ in range(3)]

        def knows_all(sentinel):
            said = sentinel.cli("SENTINEL", "MASTER", "links").split("\n")
            seen = dict(zip(said[::2], said[1::2], strict=True))
            return (seen["num-slaves"], seen["num-other-sentinels"], seen["flags"]) == ("1", "2", "master")

        until(lambda: all(knows_all(sentinel) for sentinel in sentinels), "the Sentinels know all", within_s=30)
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        made = Watched(master, replica, f"redis+sentinel://{hosts}/links/0")
        create_ledger(made.url, folder=tmp_path)
        until(made.has_all, "the replica follows")
        yield made


@pytest.mark.anyio
async def test_sentinels_are_accepted_by_name_only(watched, tmp_path: pathlib.Path) -> None:
    """Whoever starts a gateway there knows that a failover may lose the last claims."""
    with pytest.raises(LedgerUnfit, match=r'accept = \["redis-failover"\]'):
        await with_ledger(watched.url, tmp_path, claim)
    assert isinstance((await with_ledger(watched.url, tmp_path, claim, "redis-failover")), Done)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("watched", [6_000], indirect=True, ids=["longer than viewers wait"])
def test_after_a_failover_the_gateway_goes_on_by_itself(watched, tmp_path, until):
    """Kill -9 of the master: 503 until a replica has taken over, then service, and what the replica knew stays spent."""
    folder = tmp_path / "gate"
    folder.mkdir()
    made = Installation(folder, tables={"ledger": {"url": "sqlite:./unused.db", "accept": []}})
    made.put("secret.bin", BODY)
    refusing = made.write_config("refusing.toml", ledger={"url": watched.url, "accept": []})
    with pytest.raises(RuntimeError, match="redis-failover"), made.serve(refusing):
        pass
    with made.serve(made.write_config(ledger={"url": watched.url, "accept": ["redis-failover"]})) as gateway:
        spent = made.link("secret.bin")
        assert ask("GET", spent, at=gateway.viewer_url).body == BODY
        until(watched.has_all, "the replica has the claim")
        watched.master.kill()
        told = []

        def is_served():
            answer = ask("GET", made.link("secret.bin"), at=gateway.viewer_url, timeout_s=TOLD_WITHIN_S)
            told.append(answer)
            return answer.status == 200

        until(is_served, "a replica has taken over", within_s=40)
        away = told[:-1]
        assert away
        assert {answer.status for answer in away} == {503}
        assert all(int(answer.header("retry-after") or 0) >= 1 for answer in away)
        assert not [answer for answer in away if BODY[:16] in answer.body]
        assert ask("GET", spent, at=gateway.viewer_url).status == 403
        # The old master comes back, and for a moment takes itself for the master still.
        watched.master.start()

        def is_told() -> bool:
            with contextlib.suppress(RuntimeError):  # it closes its connections as it is told
                return "role:slave" in watched.master.cli("INFO", "replication")
            return False

        until(is_told, "it is told who is", within_s=60)
        for _ in range(5):
            assert ask("GET", made.link("secret.bin"), at=gateway.viewer_url).body == BODY
        assert ask("GET", spent, at=gateway.viewer_url).status == 403


@pytest.mark.timeout(120)
@pytest.mark.parametrize("wait", [0, 1])
def test_what_a_failover_loses_is_what_the_replica_did_not_have(wait, watched, tmp_path):
    """This is what is accepted: an answered claim is gone. With ``wait=1`` it would not have been answered."""
    link_id = fresh_link_id()

    async def test(ledger):
        await claim(ledger)
        watched.replica.freeze()
        watched.master.cli("CLIENT", "KILL", "TYPE", "replica")  # else the kernel would take it in for the frozen one
        first = await ledger.insert(link_id, b'{"by":"first"}', FORGET_NEVER_S)
        assert isinstance(first, Unknown if wait else Done)
        await asyncio.to_thread(watched.master.kill)
        watched.replica.thaw()
        async with asyncio.timeout(60):
            while not isinstance(stands := await ledger.read(link_id), Stands):
                await ledger.insert(link_id, b'{"by":"second"}', FORGET_NEVER_S)
        assert stands.record == b'{"by":"second"}'

    asyncio.run(with_ledger(f"{watched.url}?wait={wait}", tmp_path, test, "redis-failover"))
