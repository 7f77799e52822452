"""An installation is updated gateway by gateway: two versions serve one ledger meanwhile, and are one all the same."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import secrets
import subprocess
import sys
import tarfile
from collections.abc import Generator
from dataclasses import dataclass

import pytest

from oncegate.ledgers.opening import open_ledger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done
from oncegate.links.grant import Operation
from oncegate.links.link_id import id_of_text
from oncegate.testing.installation import Installation, Serving, free_port
from oncegate.testing.races import race
from oncegate.testing.raw_http import RawAnswer, ask
from oncegate.testing.servers.object_stores import environment
from oncegate.testing.servers.postgresql import PostgresqlServer
from oncegate.testing.servers.redis import RedisServer

ROOT = pathlib.Path(__file__).parents[2]
OLDER = "aeb85ef"
"""The last commit whose gateways knew neither the layout of a ledger nor the instants of tries to sweep."""
OLDER_PACKAGES = "granian==2.8.7"
"""What that version needs and this one does not: its HTTP server."""
BODY = b"only one of you may read this: " + bytes(range(256)) * 200
CALLERS, ROUNDS = 32, 5

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.xdist_group("two-versions")]


@dataclass(frozen=True, slots=True)
class Two:
    """Two gateways on one ledger, and what they share."""

    made: Installation
    ledger_url: str
    older: Serving
    newer: Serving

    @property
    def both_ways(self) -> tuple[tuple[Serving, Serving], tuple[Serving, Serving]]:
        """Who is asked first, and who afterwards."""
        return (self.older, self.newer), (self.newer, self.older)


@pytest.fixture(scope="module")
def older_source(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The source of the older version, from the history of this repository."""
    folder = tmp_path_factory.mktemp("older")
    with (folder / "source.tar").open("wb") as archive:
        command = ["git", "-C", str(ROOT), "archive", OLDER, "src"]
        try:
            found = subprocess.run(command, stdout=archive, stderr=subprocess.PIPE, check=False).returncode == 0
        except FileNotFoundError:
            found = False
    if not found:
        pytest.skip(f"commit {OLDER} is not here: a shallow clone, or no clone at all")
    with tarfile.open(folder / "source.tar") as opened:
        opened.extractall(folder, filter="data")
    return folder / "src"


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "redis"])
def two(
    request: pytest.FixtureRequest, older_source: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Two]:
    """A ledger that the older version made and the newer one migrated, and a gateway of each."""
    folder = tmp_path_factory.mktemp(request.param)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = environment(ROOT / ".parts" / f"older-{version}" / "venv", OLDER_PACKAGES)
    packages = python.parent.parent / "lib" / version / "site-packages"
    environ = {"PYTHONPATH": os.pathsep.join((str(older_source), str(packages)))}
    with contextlib.ExitStack() as stack:
        url = "sqlite:./shared.db"
        if request.param != "sqlite":
            kind = {"postgresql": PostgresqlServer, "redis": RedisServer}[request.param]
            url = stack.enter_context(kind(folder / "server")).url
        (folder / "gate").mkdir()
        made = Installation(folder / "gate", tables={"ledger": {"url": "memory:"}})
        configs = {
            name: made.write_config(f"{name}.toml", port=port, ledger={"url": url})
            for name, port in (("older", free_port()), ("newer", made.port))
        }
        command = [sys.executable, "-m", "oncegate", "--config"]
        for name, more in (("older", environ), ("newer", {})):
            migrate = [*command, str(configs[name]), "ledger", "migrate"]
            subprocess.run(migrate, cwd=made.folder, env={**os.environ, **more}, check=True, capture_output=True)
        older = stack.enter_context(made.serve(configs["older"], environ=environ))
        newer = stack.enter_context(made.serve(configs["newer"]))
        yield Two(made, url, older, newer)


def at(gateway: Serving, method: str, url: str, **more: object) -> RawAnswer:
    """Ask one of the two."""
    return ask(method, url, at=gateway.viewer_url, **more)  # type: ignore[arg-type]  # as ask takes them


def test_the_two_are_two_versions(two: Two, older_source: pathlib.Path) -> None:
    """Were both of this checkout, every test here would hold for nothing."""
    shown = subprocess.run(
        [sys.executable, "-c", "import oncegate.gateway.app as a; print(a.__file__)"],
        env={**os.environ, "PYTHONPATH": str(older_source)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout.startswith(str(older_source))
    assert not (older_source / "oncegate" / "uses").exists()


@pytest.mark.anyio
async def test_of_many_callers_at_both_one_wins(two: Two) -> None:
    """What one version writes as a claim the other must read as one, in the same instant."""
    two.made.put("raced.bin", BODY)
    for _ in range(ROUNDS):
        link = two.made.link("raced.bin")
        answers = await race(link, [two.older.viewer_url, two.newer.viewer_url], callers=CALLERS)
        assert [body for status, body in answers if status == 200] == [BODY]
        assert {status for status, _ in answers} == {200, 403}


def test_what_one_has_served_the_other_refuses(two: Two) -> None:
    """A use is taken for both, in either order, and each says why."""
    two.made.put("once.bin", BODY)
    for first, second in two.both_ways:
        link = two.made.link("once.bin")
        assert at(first, "GET", link).body == BODY
        refused = at(second, "GET", link)
        assert refused.status == 403
        assert "has been used" in refused.text


def test_uses_are_counted_over_both(two: Two) -> None:
    """A link for three opens three times, whoever counts."""
    two.made.put("thrice.bin", BODY)
    for first, second in two.both_ways:
        link = two.made.link("thrice.bin", uses=3)
        statuses = [at(gateway, "GET", link, source=f"127.0.0.{n}").status for n, gateway in
                    enumerate((first, second, first, second, first), 2)]  # fmt: skip
        assert statuses == [200, 200, 200, 403, 403]


def test_a_range_begun_at_one_is_continued_at_the_other(two: Two) -> None:
    """The holder's budget stands in the record; read wrongly it would give a second copy, or nothing."""
    two.made.put("parts.bin", BODY)
    for first, second in two.both_ways:
        link = two.made.link("parts.bin")
        begun = at(first, "GET", link, headers={"Range": "bytes=0-999"})
        assert begun.status == 206
        rest = at(second, "GET", link, headers={"Range": "bytes=1000-", "Cookie": begun.cookie})
        assert (rest.status, begun.body + rest.body) == (206, BODY)
        strange = at(second, "GET", link, headers={"Range": "bytes=0-"}, source="127.0.0.9")
        assert strange.status == 403


def test_an_upload_at_one_spends_the_link_for_the_other(two: Two) -> None:
    """The store refuses a second object; the ledger must refuse it as well, also when the object is gone."""
    for first, second in two.both_ways:
        key = f"in/{secrets.token_hex(4)}"
        link = two.made.link(key, operation=Operation.PUT)
        assert at(first, "PUT", link, body=b"whole").status == 200
        (two.made.objects / key).unlink()
        assert at(second, "PUT", link, body=b"again").status == 403
        assert not (two.made.objects / key).exists()


def test_a_link_that_one_revoked_the_other_refuses(two: Two) -> None:
    """Whoever revokes during an update means it, at every gateway."""
    two.made.put("revoked.bin", BODY)
    for name, serving in (("newer", two.older), ("older", two.newer)):
        link = two.made.link("revoked.bin")
        config = two.made.folder / f"{name}.toml"
        done = subprocess.run(
            [sys.executable, "-m", "oncegate", "--config", str(config), "revoke", link],
            cwd=two.made.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert at(serving, "GET", link).status == 403


@pytest.mark.parametrize(
    "record",
    [
        {"c": [["q1w2e3r4t5y6u7i8", 1_795_000_000, 0, "gate"]], "zz": 1},
        {"zz": 1},
        {"c": [["q1w2e3r4t5y6u7i8", 1_795_000_000, 0, "gate", 5, "00000000", 5, 0, 1, "more"]], "later": [1]},
        [1],
    ],
    ids=["a use and a member", "a member alone", "a claim of more parts", "another form"],
)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_record_of_a_later_version_is_neither_free_nor_used(two: Two, record: object, method: str) -> None:
    """Nobody here knows what it means, so it is not served, and its holder is not told that it was used.

    The newer one says 503, and to ask again: a gateway of the later version can answer. The older one said 500, S3's
    InternalError, after which clients ask again as well; that it cannot be changed any more is what this test is for.
    """
    two.made.put("later.bin", BODY)
    link = two.made.link(
        "later.bin" if method == "GET" else f"in/{secrets.token_hex(4)}",
        operation=Operation.GET if method == "GET" else Operation.PUT,
    )
    asyncio.run(write_raw(two, link, json.dumps(record).encode()))
    answers = [at(gateway, method, link, body=b"x" if method == "PUT" else None) for gateway in (two.older, two.newer)]
    assert [answer.status for answer in answers] == [500, 503]
    assert int(answers[1].header("retry-after") or 0) >= 1
    for answer in answers:
        assert BODY[:16] not in answer.body
        assert "has been used" not in answer.text


async def write_raw(two: Two, link: str, record: bytes) -> None:
    """Write a record that no code here would write."""
    ledger = open_ledger(two.ledger_url, folder=two.made.folder)
    try:
        nonce = link.partition("once=")[2].partition(".")[2][:22]
        assert isinstance(await ledger.insert(id_of_text(nonce), record, FORGET_NEVER_S), Done)
    finally:
        await ledger.aclose()
