"""Upload links to many keys, of which the holder chooses one: a use stores one object, whatever pauses or ends.

Leases are short here, by a program that changes their length before it runs the gateway.
"""

from __future__ import annotations

import base64
import contextlib
import pathlib
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from oncegate.links.grant import Operation
from oncegate.links.link_id import uuid7
from oncegate.links.policy import Policy, custom_policy
from oncegate.links.ticket import Ticket
from oncegate.testing.installation import Installation, Serving, free_port
from oncegate.testing.raw_http import RawConnection, ask, target_of
from oncegate.uses.record import EMPTY, Placing, Record
from oncegate.uses.upload import UNKNOWN_FOR_S

LEASE_S = 2
PROGRAM = f"""
import runpy
from oncegate.uses.use import Rules
Rules.__new__.__defaults__ = (900, {LEASE_S})
runpy.run_module("oncegate", run_name="__main__")
"""

Until = Callable[[Callable[[], object], str], object]


class Prefix:
    """One ticket for every key below ``inbox/``."""

    def __init__(self, home: Installation, *, uses: int = 1, may_replace: bool = False) -> None:
        nonce = uuid7(time.time_ns() // 10**6, secrets.token_bytes(10))
        query = f"once={Ticket(operation=Operation.PUT, uses=uses, nonce=nonce)}" + "&once-replace=1" * may_replace
        resource = f"{home.public_url}/inbox/*?{query}"
        policy = custom_policy(Policy(resource=resource, expires_s=int(time.time()) + 3600))
        self._front = f"{home.public_url}/inbox/"
        self._query = (
            f"?{query}&Policy={_encoded(policy)}&Signature={_encoded(home.signer.sign(policy, 'SHA256'))}"
            f"&Key-Pair-Id={home.key_id}&Hash-Algorithm=SHA256"
        )

    def __truediv__(self, name: str) -> str:
        return f"{self._front}{name}{self._query}"


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode().translate(str.maketrans("+=/", "-_~"))


def objects(home: Installation) -> dict[str, bytes]:
    """What stands below ``inbox/``."""
    folder = home.objects / "inbox"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def slow_put(url: str, *, at: str | None = None) -> RawConnection:
    """Begin an upload of ten bytes, of which two come."""
    connection = RawConnection(at or url)
    connection.send_request("PUT", target_of(url), host=url[7:].partition("/")[0], headers={"Content-Length": "10"})
    connection.send(b"01")
    return connection


def end(connection: RawConnection) -> int:
    """Send the other eight; return the status."""
    connection.send(b"23456789")
    return connection.read_answer().status


@pytest.fixture
def home(home_with: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """An installation whose gateways give short leases."""
    made = home_with()

    def command(config: pathlib.Path, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", PROGRAM, "--config", str(config), *arguments]

    monkeypatch.setattr(made, "_command", command)
    return made


@contextlib.contextmanager
def second_gateway(home: Any) -> Iterator[Serving]:
    """Another gateway over the same ledger and the same objects."""
    with home.serve(home.write_config("second.toml", port=free_port())) as serving:
        yield serving


@pytest.mark.slow
def test_an_upload_that_pauses_past_its_lease_is_the_only_one(home: Any, until: Until) -> None:
    """A holder who pauses must not store another key meanwhile: the lease is renewed by a timer, not by bytes."""
    link = Prefix(home)
    with home.serve(), slow_put(link / "a.txt") as connection:
        first = until(lambda: (home.record(link / "a.txt") or EMPTY).lease, "the lease is taken")
        until(lambda: time.time() > first.until_s + 1, "its first length is over")
        other = ask("PUT", link / "b.txt", body=b"other")
        assert (other.status, objects(home)) == (409, {})
        assert end(connection) == 200
        assert ask("PUT", link / "b.txt", body=b"other").status == 403
    assert objects(home) == {"a.txt": b"0123456789"}


@pytest.mark.slow
def test_an_upload_whose_lease_was_taken_over_stores_nothing(home: Any, until: Until) -> None:
    """A gateway that was stopped cannot renew: when it goes on, another key is stored, and its own must not be."""
    link = Prefix(home)
    with home.serve() as first, second_gateway(home) as second, slow_put(link / "a.txt") as connection:
        lease = until(lambda: (home.record(link / "a.txt") or EMPTY).lease, "the lease is taken")
        first.process.send_signal(signal.SIGSTOP)
        try:
            until(lambda: time.time() > (home.record(link / "a.txt").lease or lease).until_s, "the lease is over")
            assert ask("PUT", link / "b.txt", body=b"other", at=second.viewer_url).status == 200
        finally:
            first.process.send_signal(signal.SIGCONT)
        assert end(connection) in {403, 409}
        assert ask("PUT", link / "c.txt", body=b"third").status == 403
    assert objects(home) == {"b.txt": b"other"}
    record = home.record(link / "a.txt")
    assert (record.uses, record.placing, record.lease) == (1, (), None)


@pytest.mark.parametrize("uses", [1, 3])
def test_each_use_stores_one_object(home: Any, uses: int) -> None:
    """As many objects as the ticket says, at any keys of the prefix."""
    link = Prefix(home, uses=uses)
    with home.serve():
        answers = [ask("PUT", link / f"{name}.txt", body=name.encode()).status for name in "abcd"]
    assert answers == [200] * uses + [403] * (4 - uses)
    assert len(objects(home)) == uses


def test_a_use_that_the_store_refused_is_free_again(home: Any, until: Until) -> None:
    """An object appeared at the key meanwhile: 412, nothing was stored, and another key may be chosen."""
    link = Prefix(home)
    with home.serve(), slow_put(link / "a.txt") as connection:
        until(lambda: home.record(link / "a.txt"), "the lease is taken")
        home.put("inbox/a.txt", b"another's")
        assert end(connection) == 412
        until(lambda: not home.record(link / "a.txt").placing, "the use is given back")
        assert ask("PUT", link / "b.txt", body=b"other").status == 200
    assert objects(home) == {"a.txt": b"another's", "b.txt": b"other"}


def test_a_link_that_may_replace_replaces_what_stands_at_each_key(home: Any) -> None:
    """The version seen at one key says nothing of another; each use still stores one object."""
    link = Prefix(home, uses=2, may_replace=True)
    for name in "abc":
        home.put(f"inbox/{name}.txt", b"old")
    with home.serve():
        answers = [ask("PUT", link / f"{name}.txt", body=b"new").status for name in "abc"]
    assert answers == [200, 200, 403]
    assert objects(home) == {"a.txt": b"new", "b.txt": b"new", "c.txt": b"old"}


@pytest.mark.parametrize(
    ("age_s", "stands", "status"),
    [
        (UNKNOWN_FOR_S - 60, False, 409),
        (UNKNOWN_FOR_S + 1, False, 200),
        (UNKNOWN_FOR_S + 1, True, 403),
    ],
)
def test_an_upload_of_which_nobody_knows_the_end_is_looked_for_after_an_hour(
    home: Any, age_s: int, stands: bool, status: int
) -> None:
    """Killed between taking the use and storing: others wait, then the key decides whether the use is given back."""
    link = Prefix(home)
    if stands:
        home.put("inbox/a.txt", b"stored")
    placing = Placing("9f3kQ2m7xT0aBcDe", "inbox/a.txt", int(time.time()) - age_s)
    home.change_record(link / "a.txt", lambda record: None if record else Record(uses=1, placing=(placing,)))
    with home.serve():
        assert ask("PUT", link / "b.txt", body=b"other").status == status
    assert set(objects(home)) == ({"a.txt"} if stands else set()) | ({"b.txt"} if status == 200 else set())
