"""The function of the API, opened from its variables: keys, direct invocations, what it logs. No emulator."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from oncegate.aws.stacks.api_variables import AUTHORIZER, CONFIGURATION, PUBLIC_KEYS, SECRET
from oncegate.keys.folder import KeyFolder
from oncegate.keys.pem import KeyUnfit, new_key_pair
from oncegate.ledgers.opening import create_ledger
from oncegate.library.verifying import verify
from oncegate.links.errors import BadRequest
from oncegate.service.api_function import ApiFunction, KeptKey, MissingVariable
from oncegate.service.listed_store import ListedStore
from oncegate.stores.opening import open_store

IAM = {"iam": {"callerId": "AIDAEXAMPLE"}}
SECRET_TEXT = "drawn-at-deploy-and-in-no-log"
EVENT = {"fileName": "a b/ü.pdf"}


def environ_of(folder: Path) -> dict[str, str]:
    """The variables of a function over a ledger and a store of this machine."""
    private, public = new_key_pair("ecdsa")
    (folder / "objects").mkdir()
    (folder / "objects" / "a.txt").write_text("x")
    (folder / "key.pem").write_bytes(private)
    create_ledger(f"sqlite:{folder}/ledger.db", folder=folder)
    configuration = f"""
[viewer]
public_url = "https://d1.cloudfront.example"
[store]
url = "file:{folder}/objects"
[ledger]
url = "sqlite:{folder}/ledger.db"
[keys]
group = "./keys"
signing = "{folder}/key.pem"
"""
    return {
        CONFIGURATION: configuration,
        PUBLIC_KEYS: json.dumps({"K2EXAMPLE": public.decode()}),
        AUTHORIZER: "iam",
        SECRET: SECRET_TEXT,
    }


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Variables that are whole."""
    return environ_of(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[int]:
    """Where lines go."""
    descriptor = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def function(environ: dict[str, str], tmp_path: Path, log: int) -> Iterator[ApiFunction]:
    """The function, opened."""
    made = ApiFunction(environ, tmp_path / "laid", log_descriptor=log)
    yield made
    made.close()


def request(method: str, path: str, *, query: str = "", body: Any = None) -> dict[str, Any]:
    """A request that IAM let through."""
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": method, "sourceIp": "198.51.100.7"}, "authorizer": IAM},
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


def at(when: datetime, **more: str) -> dict[str, Any]:
    """A direct invocation for a link that ends then."""
    parts = (when.year, when.month, when.day, when.hour, when.minute, when.second, when.microsecond)
    names = ("Year", "Month", "Day", "Hour", "Minute", "Second", "Micro")
    return {**EVENT, **dict(zip(names, map(str, parts), strict=True)), **more}


def in_an_hour() -> datetime:
    """UTC."""
    return datetime.now(UTC) + timedelta(hours=1)


def test_calls_go_on_over_one_ledger(function: ApiFunction) -> None:
    """What is opened at the first call serves the others: a link, its listing, its revocation, the objects."""
    made: Any = function.answer(request("POST", "/v1/links", body={"key": "a.txt", "label": "for Ada"}))
    assert made["statusCode"] == 201
    link = json.loads(made["body"])
    listed: Any = function.answer(request("GET", "/v1/links"))
    assert [each["id"] for each in json.loads(listed["body"])["links"]] == [link["id"]]
    revoked: Any = function.answer(request("DELETE", f"/v1/links/{link['id']}"))
    assert revoked["statusCode"] in (200, 204)
    objects: Any = function.answer(request("GET", "/v1/s3objects"))
    assert [each["Key"] for each in json.loads(objects["body"])] == ["a.txt"]
    assert function.answer(request("GET", "/readyz"))["statusCode"] == 200  # type: ignore[index]


@pytest.mark.parametrize("is_scheduled", [False, True])
def test_a_direct_invocation_returns_the_url_as_text(function: ApiFunction, tmp_path: Path, is_scheduled: bool) -> None:
    """The event of the published signer, by itself and as the detail of an event; it opens once, and ends in UTC."""
    when = in_an_hour()
    event = at(when)
    if is_scheduled:
        event = {"version": "0", "id": "1", "detail-type": "link wanted", "source": "app", "detail": event}
    url = function.answer(event)
    assert isinstance(url, str)
    assert url.startswith("https://d1.cloudfront.example/a%20b/%C3%BC.pdf?once=g.")
    assert f"Expires={int(when.timestamp())}&" in url
    assert verify(url, config=tmp_path / "laid" / "oncegate.toml").object_key == "a b/ü.pdf"


def test_the_times_are_utc_wherever_it_runs(function: ApiFunction, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published signer took the time zone of its machine."""
    when = in_an_hour()
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        assert f"Expires={int(when.timestamp())}&" in str(function.answer(at(when)))
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"fileName": ""}, "fileName"),
        ({"fileName": "../a"}, "key"),
        ({"Month": "13"}, "Year"),
        ({"Day": "one"}, "Day"),
        ({"Micro": "-1"}, "Micro"),
        ({"Hour": "\u0661"}, "Hour"),
        ({"Second": ""}, "Second"),
        ({"Year": "2001"}, "expires"),
        ({"Year": "9998"}, "expires"),
    ],
)
def test_what_cannot_be_signed_is_refused_by_name(function: ApiFunction, changed: dict[str, str], named: str) -> None:
    """The published signer signed anything: a key that no link can hold, an end long past or decades ahead."""
    with pytest.raises(BadRequest, match=named):
        function.answer({**at(in_an_hour()), **changed})


def test_an_event_of_something_else_makes_no_link(function: ApiFunction) -> None:
    """Somebody's test event, or one of another service."""
    for event in ({}, {"Records": []}, {"version": "2.0"}, {"version": "1.0", "httpMethod": "GET", "path": "/url"}):
        with pytest.raises(BadRequest):
            function.answer(event)


def test_lines_are_written_before_a_call_is_answered(function: ApiFunction, tmp_path: Path) -> None:
    """Lambda stops the process between two calls: a line that waits is a line that is lost."""
    function.answer(request("GET", "/url"))
    first = (tmp_path / "log").read_text().splitlines()
    function.answer(request("GET", "/url"))
    second = (tmp_path / "log").read_text().splitlines()
    assert len(second) == 2 * len(first) > 0


def test_no_secret_and_no_link_is_in_the_log(function: ApiFunction, environ: Mapping[str, str], tmp_path: Path) -> None:
    """The published function wrote its whole event, with the links that it answered."""
    url = json.loads(function.answer(request("POST", "/v1/urls", body={"file": "a.txt"}))["body"])["signedUrl"]  # type: ignore[index]
    direct = str(function.answer(at(in_an_hour())))
    for event in ({"fileName": "a"}, at(in_an_hour(), Day="32")):
        with pytest.raises(BadRequest):
            function.answer(event)
    text = (tmp_path / "log").read_text()
    assert "198.51.100.7" in text
    key = (tmp_path / "key.pem").read_text().splitlines()[1]
    for hidden in (
        SECRET_TEXT,
        key,
        "Signature=",
        url.partition("Signature=")[2][:40],
        direct.partition("once=")[2][:24],
    ):
        assert hidden not in text


@pytest.mark.parametrize("name", [CONFIGURATION, PUBLIC_KEYS, AUTHORIZER, SECRET])
def test_a_variable_that_is_missing_is_named(environ: dict[str, str], tmp_path: Path, name: str) -> None:
    """Without the authorizer or the secret it must not run as if there were none."""
    del environ[name]
    with pytest.raises(MissingVariable, match=name):
        ApiFunction(environ, tmp_path / "laid")


def test_a_key_is_fetched_once_and_again_when_it_may_have_been_exchanged(tmp_path: Path) -> None:
    """The published functions fetched their secret at every call; both sides of the second after which it is asked."""
    fetched: list[str] = []
    now_s = 100.0

    def fetch() -> Any:
        fetched.append("key")
        return len(fetched)

    kept = KeptKey(fetch, kept_s=300.0, monotonic=lambda: now_s)
    kept.refresh()
    now_s = 399.9
    kept.refresh()
    assert (len(fetched), kept.now()) == (1, 1)
    now_s = 400.0
    kept.refresh()
    kept.refresh()
    assert (len(fetched), kept.now()) == (2, 2)
    for_ever = KeptKey(fetch, kept_s=None, monotonic=lambda: now_s)
    now_s = 10**9
    for_ever.refresh()
    assert len(fetched) == 3


def test_a_key_that_cannot_be_used_leaves_the_former_one(caplog: pytest.LogCaptureFixture) -> None:
    """A secret that is exchanged before its public half is trusted must not end all signing."""
    answers: list[Any] = [1, KeyUnfit("its public half is not in the key group", where="secretsmanager:x")]
    now_s = 0.0

    def fetch() -> Any:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    kept = KeptKey(fetch, kept_s=300.0, monotonic=lambda: now_s)
    now_s = 300.0
    kept.refresh()
    assert kept.now() == 1
    assert "signed as before" in caplog.text


def test_the_key_group_is_the_deployments(function: ApiFunction, tmp_path: Path) -> None:
    """Explain and the signer judge by the keys that CloudFront trusts, under CloudFront's ids."""
    assert list(KeyFolder(tmp_path / "laid" / "keys").keys) == ["K2EXAMPLE"]
    url = str(function.answer(at(in_an_hour(), fileName="a.txt")))
    explained: Any = function.answer(request("POST", "/v1/explain", body={"url": url}))
    assert json.loads(explained["body"])["admitted"] is True


def test_an_object_is_found_in_the_list_alone(tmp_path: Path) -> None:
    """The function's role may list the bucket and read no object; a key that another one begins with is no object."""
    (tmp_path / "a").mkdir()
    for key in ("a/one.txt", "a/one.txt.old", "a/o"):
        (tmp_path / key).write_text(key)

    async def look() -> None:
        store = ListedStore(open_store(f"file:{tmp_path}", folder=tmp_path, options={}))
        for key, size_bytes in (("a/one.txt", 9), ("a/one", None), ("a/o", 3), ("a", None), ("b", None)):
            found = await store.look(key)
            assert (None if found is None else found.info.size_bytes) == size_bytes, key
        await store.aclose()

    asyncio.run(look())
