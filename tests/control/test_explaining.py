"""POST /v1/explain: every check, with the answers of ledger and store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from control_world import BORN_MS, NOW_S, SECRET, World, change

from oncegate.ledgers.protocol import FORGET_NEVER_S
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.grant import Operation
from oncegate.links.issue import S3Issuer, Wish, make_link
from oncegate.links.link_id import text_of_id, uuid7
from oncegate.links.sigv4 import presign_url
from oncegate.links.ticket import Ticket
from oncegate.settings.tables import Settings, ViewerSettings
from oncegate.stores.protocol import StoreBusy, StoreRefused
from oncegate.uses.record import Claim, Lease, Record, to_json

Talk = Callable[..., None]
NONCE = uuid7(NOW_S * 1000, bytes(range(10)))
CLAIM = Claim(claim_id="a-secret-of-16-c", at_s=NOW_S - 5, address="203.0.113.7", gateway="x7Qa")
PUBLIC = "https://files.example.com"


def _link(
    world: World, *, operation: Operation = Operation.GET, uses: int = 1, nonce: bytes = NONCE, **wish: Any
) -> str:
    ticket = Ticket(operation=operation, uses=uses, nonce=nonce)
    made = Wish(object_key="a.txt", ticket=ticket, expires_s=NOW_S + 60, **wish)
    return make_link(made, public_url=PUBLIC, key=world.parts.signer(), s3=None, now_s=NOW_S)


async def _explain(client: httpx.AsyncClient, url: str, **order: Any) -> dict[str, Any]:
    answer = await client.post("/v1/explain", json={"url": url, **order})
    assert answer.status_code == 200, answer.text
    return answer.json()


def _failed(explained: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["name"], step["reason"]) for step in explained["steps"] if step["passed"] is False]


@pytest.mark.parametrize(
    ("record", "operation", "uses", "reason"),
    [
        (None, Operation.GET, 1, None),
        (Record(uses=1, claims=(CLAIM,)), Operation.GET, 1, "used"),
        (Record(uses=1, claims=(CLAIM,)), Operation.GET, 2, None),
        (Record(uses=0, is_revoked=True), Operation.GET, 1, "revoked"),
        (Record(uses=0, lease=Lease("x", NOW_S + 1)), Operation.PUT, 1, "upload-running"),
        (Record(uses=0, lease=Lease("x", NOW_S)), Operation.PUT, 1, None),
        (Record(uses=1), Operation.PUT, 1, "used"),
    ],
)
def test_the_ledger_is_asked_by_the_rules_of_a_use(
    world: World, talk: Talk, record: Record | None, operation: str, uses: int, reason: str | None
) -> None:
    """As the gateway would: and nothing is written by asking."""
    if operation is Operation.GET:
        world.store.put("a.txt")

    async def calls(client: httpx.AsyncClient) -> None:
        if record is not None:
            await world.ledger.insert(NONCE, to_json(record), FORGET_NEVER_S)
        before = await world.ledger.scan(b"", 2)
        explained = await _explain(client, _link(world, operation=operation, uses=uses))
        assert explained["admitted"] is (reason is None)
        assert _failed(explained) == ([("ledger", reason)] if reason else [])
        assert explained["id"] == text_of_id(NONCE)
        assert explained["method"] == ("PUT" if operation is Operation.PUT else "GET")
        assert CLAIM.claim_id not in str(explained)
        assert await world.ledger.scan(b"", 2) == before

    talk(calls)


@pytest.mark.parametrize(
    ("stands", "operation", "wish", "reason"),
    [
        (False, Operation.GET, {}, "no-such-key"),
        (True, Operation.PUT, {}, "object-stands"),
        (True, Operation.PUT, {"may_replace": True}, None),
        (False, Operation.PUT, {}, None),
    ],
)
def test_the_store_is_asked_for_the_object(
    world: World, talk: Talk, stands: bool, operation: str, wish: dict[str, Any], reason: str | None
) -> None:
    """A download needs it, an upload needs its place."""
    if stands:
        world.store.put("a.txt")

    async def calls(client: httpx.AsyncClient) -> None:
        explained = await _explain(client, _link(world, operation=operation, **wish))
        assert _failed(explained) == ([("object", reason)] if reason else [])

    talk(calls)


@pytest.mark.parametrize(
    ("fault", "reason"), [(StoreBusy("secret"), "store-busy"), (StoreRefused("secret"), "store-failed")]
)
def test_a_fault_of_the_store_is_a_step(world: World, talk: Talk, fault: Exception, reason: str) -> None:
    """Whoever asks why a link fails wants this answer too; the driver's words stay inside."""
    world.store.fault = fault

    async def calls(client: httpx.AsyncClient) -> None:
        explained = await _explain(client, _link(world))
        assert _failed(explained) == [("object", reason)]
        assert "secret" not in str(explained)

    talk(calls)


def test_a_silent_ledger_is_a_step(world: World, talk: Talk) -> None:
    """What is not known is not admitted."""
    world.store.put("a.txt")

    async def calls(client: httpx.AsyncClient) -> None:
        await world.ledger.aclose()
        assert _failed(await _explain(client, _link(world))) == [("ledger", "ledger-unknown")]

    talk(calls)


def test_a_record_of_another_version_is_not_admitted(world: World, talk: Talk) -> None:
    """The gateway would not take it for unused either."""
    world.store.put("a.txt")

    async def calls(client: httpx.AsyncClient) -> None:
        await world.ledger.insert(NONCE, b'{"z":1}', FORGET_NEVER_S)
        explained = await _explain(client, _link(world))
        assert (explained["admitted"], _failed(explained)) == (False, [("ledger", "")])

    talk(calls)


def test_a_ticket_older_than_the_ledger_is_told(world: World, talk: Talk) -> None:
    """Both sides of the ledger's birth."""
    world.store.put("a.txt")

    async def calls(client: httpx.AsyncClient) -> None:
        old = await _explain(client, _link(world, nonce=uuid7(BORN_MS - 1, bytes(10))))
        assert _failed(old) == [("ledger", "older-than-the-ledger")]
        assert (await _explain(client, _link(world, nonce=uuid7(BORN_MS, bytes(10)))))["admitted"]

    talk(calls)


def test_time_and_address_can_be_named(world: World, talk: Talk) -> None:
    """Would it have opened then, from there."""
    world.store.put("a.txt")
    url = _link(world, source_ip="203.0.113.0/24")

    async def calls(client: httpx.AsyncClient) -> None:
        assert (await _explain(client, url, address="203.0.113.9"))["admitted"]
        assert (await _explain(client, url, address="::ffff:203.0.113.9"))["admitted"]
        assert _failed(await _explain(client, url, address="198.51.100.1")) == [("address", "ip-not-allowed")]
        nobody = await _explain(client, url)
        assert _failed(nobody) == [("address", "ip-not-allowed")]
        assert "say from which address" in str(nobody)
        late = await _explain(client, url, address="203.0.113.9", at="2026-01-01T00:01:00Z")
        assert _failed(late) == [("expiry", "expired")]
        assert (await _explain(client, url, address="203.0.113.9", at="2026-01-01T00:00:59Z"))["admitted"]

    talk(calls)


def test_another_method_than_the_link_is_for_is_told(world: World, talk: Talk) -> None:
    """The usual mistake: opening an upload link in a browser."""

    async def calls(client: httpx.AsyncClient) -> None:
        explained = await _explain(client, _link(world, operation=Operation.PUT), method="GET")
        assert _failed(explained) == [("operation", "method-not-granted")]
        assert [step["passed"] for step in explained["steps"][-2:]] == [None, None]

    talk(calls)


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
def test_the_method_of_an_s3_link_is_found_by_its_signature(world: World, talk: Talk, method: str) -> None:
    """S3 signs the method and names it nowhere."""
    if method != "PUT":
        world.store.put("a.txt")
    issuer = S3Issuer(access_key_id="AKIDEXAMPLE", secret=SECRET, region="us-east-1")
    url = presign_url(
        f"{PUBLIC}/bucket/a.txt",
        method=method,
        access_key_id=issuer.access_key_id,
        secret=issuer.secret,
        region=issuer.region,
        now_s=NOW_S,
        expires_in_s=60,
    )

    async def calls(client: httpx.AsyncClient) -> None:
        explained = await _explain(client, url)
        assert (explained["admitted"], explained["method"], explained["key"]) == (True, method, "a.txt")
        assert SECRET not in str(explained)

    talk(calls)


def test_the_bucket_may_stand_before_the_host(world: World, talk: Talk) -> None:
    """S3's virtual-hosted style, as the gateway reads it."""
    world.store.put("a.txt")
    url = presign_url(
        "https://bucket.files.example.com/a.txt",
        method="GET",
        access_key_id="AKIDEXAMPLE",
        secret=SECRET,
        region="us-east-1",
        now_s=NOW_S,
        expires_in_s=60,
    )

    async def calls(client: httpx.AsyncClient) -> None:
        assert (await _explain(client, url))["admitted"]

    talk(calls)


def test_a_link_to_another_host_is_told(world: World, talk: Talk) -> None:
    """The gateway serves an unknown Host as its first public URL; a canned signature is then of another URL."""
    world.store.put("a.txt")

    async def calls(client: httpx.AsyncClient) -> None:
        url = _link(world).replace("files.example.com", "old.example.com")
        explained = await _explain(client, url)
        assert ("host", "") in _failed(explained)
        assert "old.example.com" in explained["steps"][0]["words"]

    talk(calls)


def test_the_scheme_is_that_of_the_public_url(world: World, talk: Talk) -> None:
    """The gateway's socket speaks http behind a proxy that speaks https."""
    world.store.put("a.txt")
    settings = Settings(viewer=ViewerSettings(public_url=("https://x.example.com", PUBLIC)))
    change(world, settings=settings)

    async def calls(client: httpx.AsyncClient) -> None:
        explained = await _explain(client, _link(world).replace("https://", "http://"))
        assert explained["admitted"]
        assert PUBLIC in explained["steps"][0]["words"]

    talk(calls)


def test_a_forged_link_asks_neither_ledger_nor_store(world: World, talk: Talk) -> None:
    """As at the gateway: what is refused there has touched nothing."""

    async def calls(client: httpx.AsyncClient) -> None:
        await world.ledger.aclose()
        world.store.fault = AssertionError()
        explained = await _explain(client, _link(world).replace("/a.txt", "/b.txt"))
        assert ("signature", "bad-signature") in _failed(explained)
        assert (explained["id"], explained["key"]) == (None, None)

    talk(calls)


@pytest.mark.parametrize("url", ["a.txt", "ftp://files.example.com/a", "https://", "https://a b/", "//x/y", "\x00"])
def test_what_is_no_url_is_refused_without_being_quoted(talk: Talk, url: str) -> None:
    """It may be a token that was pasted into the wrong field."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/explain", json={"url": url})
        assert answer.status_code == 422
        assert "http or https" in answer.text

    talk(calls)


def test_the_signature_comes_back_in_no_answer(world: World, talk: Talk) -> None:
    """An explanation is pasted into tickets and chats."""
    world.store.put("a.txt")
    url = _link(world, not_before_s=NOW_S - 5)
    secrets = [url.partition(f"{name}=")[2].partition("&")[0] for name in ("Policy", "Signature")]

    async def calls(client: httpx.AsyncClient) -> None:
        for sent in (url, url.replace("/a.txt", "/b.txt"), url + "&Signature=x", url + "&X-Amz-Date=1"):
            text = str(await _explain(client, sent))
            assert not any(secret in text for secret in secrets)

    talk(calls)
    assert not any(secret in str(world.log()) + str(world.events) for secret in secrets)


def test_a_plain_link_that_is_not_counted_is_told(world: World, talk: Talk) -> None:
    """Under plain_links = "allow" no ledger is asked."""
    from dataclasses import replace  # noqa: PLC0415

    world.store.put("a.txt")
    trust = replace(world.parts.trust(), plain_links="allow")
    change(world, trust=lambda: trust, runner=LedgerRunner(None))  # type: ignore[arg-type]  # asked of nothing
    from oncegate.links.cloudfront import sign_url  # noqa: PLC0415

    key = world.parts.signer()
    assert key is not None
    url = sign_url(f"{PUBLIC}/a.txt", key=key, expires_s=NOW_S + 60)

    async def calls(client: httpx.AsyncClient) -> None:
        explained = await _explain(client, url)
        assert explained["admitted"]
        assert "not counted" in str(explained)

    talk(calls)


@pytest.mark.parametrize("module", ["explaining", "issuing", "recording", "tokens", "parts"])
def test_what_the_command_line_borrows_imports_nothing_heavy(module: str) -> None:
    """``oncegate link`` and ``oncegate explain`` have 0.3 s for everything."""
    program = (
        f"import sys, oncegate.control.{module}\n"
        "print(sorted({'fastapi', 'pydantic', 'starlette', 'prometheus_client'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("where", ["Resource", "SourceIp", "url"])
def test_half_of_a_surrogate_pair_is_explained_like_any_other_text(world: World, talk: Talk, where: str) -> None:
    """JSON can write it, no answer can hold it: a policy with one was an internal error."""
    import base64  # noqa: PLC0415
    import json  # noqa: PLC0415

    condition: dict[str, Any] = {"DateLessThan": {"AWS:EpochTime": NOW_S + 60}}
    if where == "SourceIp":
        condition["IpAddress"] = {"AWS:SourceIp": "\ud800"}
    resource = f"{PUBLIC}/\ud800*" if where == "Resource" else f"{PUBLIC}/*"
    policy = json.dumps({"Statement": [{"Resource": resource, "Condition": condition}]}).encode()
    key = world.parts.signer()
    assert key is not None
    encoded, signature = (
        base64.b64encode(data).decode().translate(str.maketrans("+=/", "-_~"))
        for data in (policy, key.sign(policy, "SHA256"))
    )
    url = f"{PUBLIC}/a.txt?Policy={encoded}&Signature={signature}&Key-Pair-Id={key.key_id}&Hash-Algorithm=SHA256"

    async def calls(client: httpx.AsyncClient) -> None:
        sent = json.dumps({"url": url.replace("/a.txt", "/\ud800.txt") if where == "url" else url})
        answer = await client.post("/v1/explain", content=sent, headers={"Content-Type": "application/json"})
        if where == "url":
            assert answer.status_code == 422
            return
        assert answer.status_code == 200
        assert ("credential", "malformed-policy") in _failed(answer.json())

    talk(calls)
