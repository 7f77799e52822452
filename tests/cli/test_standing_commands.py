"""``explain``, ``status``, ``links``, ``revoke``: through the ledger, with the rules of the gateway."""

from __future__ import annotations

import asyncio
import json
import pathlib
import time
from collections.abc import Callable

import pytest

from oncegate.cli.wiring import open_keys, open_signer
from oncegate.ledgers import claiming
from oncegate.ledgers.opening import open_ledger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Row, Scans, forget_after
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.cloudfront import sign_url
from oncegate.links.grant import Operation
from oncegate.links.link_id import id_of_text, text_of_id
from oncegate.settings import load
from oncegate.uses.record import Issued, Record, to_json
from oncegate.uses.use import Admission, DownloadAsk, Rules, admit_download

ID = "AZTb0mXJdU-kq3xkS8pB1g"


def in_ledger(folder: pathlib.Path, work: Callable) -> object:
    """Do something with the ledger beside the command line, as a gateway does."""

    async def run() -> object:
        ledger = open_ledger("sqlite:./ledger.db", folder=folder)
        try:
            await ledger.probe()
            return await work(ledger)
        finally:
            await ledger.aclose()

    return asyncio.run(run())


def claim(folder: pathlib.Path, link_id: bytes, expires_s: int) -> None:
    """Take the use of a link, with a receipt."""

    def decide(record: Record | None) -> Admission:
        ask = DownloadAsk(
            uses=1, size_bytes=6, etag="e", span=None, cookie=None, address="203.0.113.7",
            gateway="test", claim_id="c" * 16, mark="c" * 16,
        )  # fmt: skip
        return admit_download(record, ask, int(time.time()), Rules())

    async def work(ledger) -> None:
        await LedgerRunner(ledger).run(link_id, claiming.claim(link_id, expires_s + 86_400, decide))
        receipt = {
            "at": int(time.time()),
            "event": "download",
            "outcome": "complete",
            "bytes": 6,
            "address": "::1",
            "key": "a.txt",
        }
        await ledger.append_events([{**receipt, "link_id": text_of_id(link_id)}])

    in_ledger(folder, work)


def preview(folder: pathlib.Path, link_id: bytes, count: int) -> None:
    """Note previews of a link."""

    async def work(ledger) -> None:
        event = {"at": int(time.time()), "event": "preview", "link_id": text_of_id(link_id)}
        await ledger.append_events([event] * count)

    in_ledger(folder, work)


def signed(folder: pathlib.Path, url: str, *, expires_s: int) -> str:
    """A URL as any CloudFront signer signs it."""
    settings = load(folder / "oncegate.toml", {})
    return sign_url(url, key=open_signer(settings, open_keys(settings)), expires_s=expires_s)


def rows_of(folder: pathlib.Path) -> list[Row]:
    """Everything that the ledger holds."""

    async def work(ledger) -> list[Row]:
        assert isinstance(ledger, Scans)
        return list(await ledger.scan(b"", 100))

    return in_ledger(folder, work)


def link(invoke, *options: str) -> tuple[str, str]:
    """A fresh link: its URL and id."""
    made = invoke("link", "a.txt", "--json", *options)
    facts = json.loads(made.stdout)
    return facts["url"], facts["id"]


@pytest.fixture(autouse=True)
def _an_object(folder: pathlib.Path) -> None:
    (folder / "objects" / "a.txt").write_text("hello\n")


def test_explain_admits_a_fresh_link_and_writes_nothing(invoke, folder: pathlib.Path) -> None:
    """Each check is a line; asking spends no use."""
    url, _ = link(invoke)
    found = invoke("explain", url)
    assert found.exit_code == 0, found.stdout
    assert {"signature", "expiry", "ledger", "object"} <= {line.split()[1] for line in found.stdout.splitlines()}
    assert "failed" not in found.stdout
    assert rows_of(folder) == []


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (lambda url: [url, "--at", "+2h"], "expiry"),
        (lambda url: [url, "--method", "PUT"], "operation"),
        (lambda url: [url.replace("a.txt", "b.txt")], "signature"),
        (lambda url: [url.replace("127.0.0.1", "other.example")], "host"),
        (lambda url: [url + "&once-max=1"], "signature"),
    ],
)
def test_explain_names_the_check_that_fails(invoke, folder: pathlib.Path, change: Callable, failed: str) -> None:
    """Exit 1, and words; what comes after a forged signature is not reached."""
    url, _ = link(invoke)
    found = invoke("explain", *change(url), "--json")
    document = json.loads(found.stdout)
    assert found.exit_code == 1
    assert not document["admitted"]
    assert failed in [step["name"] for step in document["steps"] if step["passed"] is False]


def test_explain_asks_for_the_address_of_the_viewer(invoke, folder: pathlib.Path) -> None:
    """A link for one network opens from there and from nowhere else."""
    url, _ = link(invoke, "--ip", "203.0.113.0/24")
    assert invoke("explain", url).exit_code == 1
    assert invoke("explain", url, "--ip", "203.0.113.7").exit_code == 0
    assert invoke("explain", url, "--ip", "198.51.100.7").exit_code == 1
    assert invoke("explain", url, "--ip", "nobody").exit_code == 2


@pytest.mark.parametrize(
    ("option", "said", "verdict"),
    [
        ([], "a program gets the object", "GET would be admitted"),
        (["--confirm", "always"], "a program gets 403", "GET would be admitted, after the button in a browser"),
        (["--confirm", "never"], "nobody is asked", "GET would be admitted"),
    ],
)
def test_explain_says_whether_a_person_is_asked(invoke, folder, option, said: str, verdict: str) -> None:
    """Of a link that no program opens it said that GET would be admitted, and no more."""
    url, _ = link(invoke, *option)
    found = invoke("explain", url)
    (asked,) = [line for line in found.stdout.splitlines() if line.split()[1] == "person"]
    assert said in asked
    assert found.stdout.splitlines()[-1] == verdict
    assert json.loads(invoke("explain", url, "--json").stdout)["confirm"] == (option[1] if option else "auto")


def test_status_says_whether_a_person_is_asked(invoke, folder: pathlib.Path) -> None:
    """Whoever wonders why a program was refused looks here; an id alone does not say it."""
    url, link_id = link(invoke, "--confirm", "always")
    assert "confirm   always: a browser shows a button first, a program gets 403" in invoke("status", url).stdout
    assert "confirm" not in invoke("status", link_id).stdout
    assert "confirm" not in invoke("status", link(invoke)[0]).stdout


def test_explain_looks_into_store_and_ledger(invoke, folder: pathlib.Path) -> None:
    """A genuine link to nothing, or one that is used up, would be refused all the same."""
    url, link_id = link(invoke)
    claim(folder, id_of_text(link_id), int(time.time()) + 3600)
    used = invoke("explain", url)
    assert (used.exit_code, "This link has been used." in used.stdout) == (1, True)
    missing = invoke("explain", invoke("link", "nothing.txt").stdout.strip())
    assert (missing.exit_code, "does not exist" in missing.stdout) == (1, True)


def test_what_is_no_url_is_usage(invoke, folder: pathlib.Path) -> None:
    """Exit 2 tells a script that it asked wrongly."""
    for command in ("explain", "status", "revoke"):
        found = invoke(command, "nonsense")
        assert (found.exit_code, found.stdout) == (2, "")


def test_status_of_a_url_knows_what_was_signed(invoke, folder: pathlib.Path) -> None:
    """The ledger holds no key of an offline link, the URL does."""
    url, link_id = link(invoke, "--uses", "3")
    found = json.loads(invoke("status", url, "--json").stdout)
    assert (found["id"], found["key"], found["uses"], found["uses_taken"]) == (link_id, "a.txt", 3, 0)
    assert found["state"] == "issued"
    assert "never opened" in invoke("status", url).stdout


def test_status_says_who_claimed_and_how_it_ended(invoke, folder: pathlib.Path) -> None:
    """By URL and by id; never the claim id, which is the holder's secret."""
    url, link_id = link(invoke)
    claim(folder, id_of_text(link_id), int(time.time()) + 3600)
    for name in (url, link_id):
        found = invoke("status", name)
        assert found.exit_code == 0
        assert "by 203.0.113.7, complete, 6 bytes" in found.stdout
        assert "c" * 16 not in found.stdout + invoke("status", name, "--json").stdout


def test_status_tells_a_download_between_thousands_of_previews(invoke, folder: pathlib.Path) -> None:
    """Only the oldest thousand events were read, and a complete download behind them was "end unknown"."""
    url, link_id = link(invoke)
    preview(folder, id_of_text(link_id), 1_100)
    claim(folder, id_of_text(link_id), int(time.time()) + 3600)
    preview(folder, id_of_text(link_id), 1_100)
    for told in (invoke("status", url), invoke("links")):
        assert "complete, 6 bytes, 2200 preview(s) suppressed" in told.stdout


def test_status_of_an_expired_link_is_not_refused(invoke, folder: pathlib.Path) -> None:
    """The issuer asks most about links that are over; a forged one stays refused."""
    unsigned = f"http://127.0.0.1:8080/a.txt?{invoke('ticket').stdout.strip()}"
    url = signed(folder, unsigned, expires_s=int(time.time()) - 1)
    found = invoke("status", url)
    assert (found.exit_code, "expired, never opened" in found.stdout) == (0, True)
    assert invoke("status", url.replace("Expires=1", "Expires=2")).exit_code == 1


def test_a_revoked_offline_link_is_refused(invoke, folder: pathlib.Path) -> None:
    """It is revoked before the ledger ever heard of it, and remembered for a day longer than it would have lived."""
    url, link_id = link(invoke)
    revoked = invoke("revoke", url)
    assert (revoked.exit_code, "revoked, never opened" in revoked.stdout) == (0, True)
    (row,) = rows_of(folder)
    assert row.link_id == id_of_text(link_id)
    assert 86_400 + 3500 < row.forget_after_s - time.time() <= 86_400 + 3600
    assert invoke("explain", url).exit_code == 1
    assert invoke("revoke", url).exit_code == 0  # twice is once


def test_a_revocation_by_id_is_kept_for_ever(invoke, folder: pathlib.Path) -> None:
    """Nobody said when the link ends; forgetting too early would let it live again."""
    assert invoke("revoke", ID).exit_code == 0
    (row,) = rows_of(folder)
    assert row.forget_after_s == FORGET_NEVER_S


def test_a_revocation_by_id_may_end_with_the_link(invoke, folder: pathlib.Path) -> None:
    """Whoever knows the end may say it."""
    assert invoke("revoke", ID, "--expires", "2030-01-01T00:00:00Z").exit_code == 0
    (row,) = rows_of(folder)
    assert row.forget_after_s == 1_893_456_000 + 86_400


def test_the_end_that_is_signed_beats_the_one_that_is_typed(invoke, folder: pathlib.Path) -> None:
    """A typing error must not make a revocation lapse."""
    url, _ = link(invoke, "--expires", "5d")
    assert invoke("revoke", url, "--expires", "1s").exit_code == 0
    (row,) = rows_of(folder)
    assert row.forget_after_s - time.time() > 5 * 86_400


@pytest.mark.parametrize(
    "damage", [lambda url: url[:-3], lambda url: url.replace("once=g.", "once=g9."), lambda _: ID[:-1]]
)
def test_what_does_not_verify_revokes_nothing(invoke, folder: pathlib.Path, damage: Callable) -> None:
    """Else a typing error would look like a revocation."""
    url, _ = link(invoke)
    refused = invoke("revoke", damage(url))
    assert refused.exit_code in (1, 2)
    assert rows_of(folder) == []


def test_a_plain_link_that_is_not_counted_cannot_be_revoked(
    invoke, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """plain_links = "allow" asks no ledger: saying "revoked" would be a lie."""
    url = signed(folder, "http://127.0.0.1:8080/a.txt", expires_s=int(time.time()) + 60)
    assert invoke("revoke", url).exit_code == 0
    monkeypatch.setenv("ONCEGATE_LINKS__PLAIN_LINKS", "allow")
    refused = invoke("revoke", url)
    assert (refused.exit_code, "cannot be revoked" in refused.stderr) == (1, True)


def test_an_s3_upload_link_can_be_named_by_its_url(invoke, folder: pathlib.Path) -> None:
    """Its method is signed: a GET of it would not verify."""
    with (folder / "oncegate.toml").open("a") as file:
        file.write('AKIDEXAMPLE = "secret"\n')
    url, link_id = link(invoke, "--scheme", "s3", "--put")
    assert json.loads(invoke("status", url, "--json").stdout)["operation"] == "put"
    assert invoke("revoke", url).stdout.startswith(link_id)


def test_links_are_a_line_each(invoke, folder: pathlib.Path) -> None:
    """In the order of their making; --json gives the same as an array."""
    ids = []
    for _ in range(3):
        url, link_id = link(invoke)
        ids.append(link_id)
        invoke("revoke", url)
    ids.sort(key=id_of_text)  # those of one millisecond have no order
    listed = invoke("links")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ids
    assert [row["id"] for row in json.loads(invoke("links", "--json").stdout)] == ids
    page = invoke("links", "--limit", "2")
    assert [line.split()[0] for line in page.stdout.splitlines()] == ids[:2]
    assert f"--after {ids[1]}" in page.stderr
    assert invoke("links", "--after", ids[1]).stdout.split()[0] == ids[2]
    assert invoke("links", "--since", "+1h").stdout == ""
    assert len(invoke("links", "--since", "-1h").stdout.splitlines()) == 3


def test_a_record_of_a_newer_version_is_listed_and_never_taken_for_unused(invoke, folder: pathlib.Path) -> None:
    """Two versions of oncegate may share a ledger for a while."""

    async def work(ledger) -> None:
        await ledger.insert(id_of_text(ID), b'{"z":1}', FORGET_NEVER_S)

    in_ledger(folder, work)
    assert "unreadable" in invoke("links").stdout
    assert invoke("status", ID).exit_code == 1
    assert invoke("revoke", ID).exit_code == 1


def test_a_key_cannot_move_the_cursor(invoke, folder: pathlib.Path) -> None:
    """Labels and keys in the ledger are others' text."""
    issued = Issued(object_key="a\x1b[2J", operation=Operation.GET, uses=1, made_s=1, expires_s=2, label="x\ny")

    async def work(ledger) -> None:
        await ledger.insert(id_of_text(ID), to_json(Record(uses=0, issued=issued)), FORGET_NEVER_S)

    in_ledger(folder, work)
    for found in (invoke("links"), invoke("status", ID)):
        assert "\x1b" not in found.stdout
        assert "x\ny" not in found.stdout


def test_a_ledger_inside_the_gateway_cannot_be_asked(
    invoke, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty one of our own would say "never opened" of every link."""
    monkeypatch.setenv("ONCEGATE_LEDGER__URL", "memory:")
    found = invoke("status", ID)
    assert (found.exit_code, "control API" in found.stderr) == (2, True)


def test_a_ledger_that_was_made_by_asking_is_mentioned(
    invoke, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong path would else look like a revocation that worked."""
    monkeypatch.setenv("ONCEGATE_LEDGER__URL", "sqlite:./other.db")
    assert "made just now" in invoke("revoke", ID).stderr
    assert "made just now" not in invoke("revoke", ID).stderr


def test_a_record_outlives_its_link_by_a_day_and_no_longer_than_a_ledger_can_say() -> None:
    """One rule for gateway and control API: a record that went earlier would let its link open again."""
    assert forget_after(5) == 86_405
    assert forget_after(FORGET_NEVER_S - 1) == FORGET_NEVER_S


def test_a_link_on_a_public_url_below_another_is_explained_as_it_is_served(
    invoke, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway served it; ``explain`` took its host for the parent's, and called the signature wrong."""
    monkeypatch.setenv("ONCEGATE_VIEWER__PUBLIC_URL", '["http://example.com", "http://files.example.com"]')
    url = signed(folder, "http://files.example.com/a.txt", expires_s=int(time.time()) + 60)
    found = invoke("explain", url)
    assert found.exit_code == 0, found.stdout


def test_an_expired_link_is_explained_under_its_own_method(invoke, folder: pathlib.Path) -> None:
    """The method is found by the signature, which stays genuine when the link is over."""
    (folder / "objects" / "a.txt").unlink()
    url, _ = link(invoke, "--put")
    found = json.loads(invoke("explain", url, "--at", "+2h", "--json").stdout)
    assert found["method"] == "PUT"
    assert [step["name"] for step in found["steps"] if step["passed"] is False] == ["expiry"]


def test_lists_show_the_object_of_a_link_that_was_signed_offline(invoke, folder: pathlib.Path) -> None:
    """Whoever reads the list knows objects, not ids; the events held the key all along."""
    _, link_id = link(invoke)
    claim(folder, id_of_text(link_id), int(time.time()) + 3600)
    assert f"{link_id}  claimed     a.txt  " in invoke("links").stdout
    assert json.loads(invoke("status", link_id, "--json").stdout)["key"] == "a.txt"
    assert json.loads(invoke("links", "--json").stdout)[0]["operation"] == "get"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--key", "a.txt"], {"claimed", "revoked"}),
        (["--key", "b/*"], {"labelled"}),
        (["--key", "b/"], set()),
        (["--state", "revoked"], {"revoked"}),
        (["--label", "Kim"], {"labelled"}),
        (["--key", "a.txt", "--state", "claimed"], {"claimed"}),
        (["--label", "Kim", "--limit", "1"], {"labelled"}),
    ],
)
def test_lists_are_narrowed_by_key_state_and_label(
    invoke, folder: pathlib.Path, options: list[str], wanted: set[str]
) -> None:
    """Of thousands of links an issuer wants those of one object, or of one person."""
    ids = {name: link(invoke)[1] for name in ("claimed", "revoked")}
    expires_s = int(time.time()) + 3600
    claim(folder, id_of_text(ids["claimed"]), expires_s)
    claim(folder, id_of_text(ids["revoked"]), expires_s)
    assert invoke("revoke", ids["revoked"]).exit_code == 0
    ids["labelled"] = text_of_id(b"\xff" * 16)
    issued = Issued(
        object_key="b/c.txt", operation=Operation.GET, uses=1, made_s=0, expires_s=expires_s, label="for Kim"
    )

    async def keep(ledger) -> None:
        await ledger.insert(b"\xff" * 16, to_json(Record(uses=0, issued=issued)), FORGET_NEVER_S)

    in_ledger(folder, keep)
    listed = json.loads(invoke("links", "--json", *options).stdout)
    assert {row["id"] for row in listed} == {ids[name] for name in wanted}


def test_explain_takes_headers_and_a_link_as_mail_shows_it(invoke, folder: pathlib.Path) -> None:
    """A signature of S3 may cover headers; without them every link that has some would count as forged."""
    url, _ = link(invoke)
    assert invoke("explain", f" <{url}> ", "--header", "Range: bytes=0-1").exit_code == 0
    signed_request = invoke("explain", url.partition("?")[0], "--header", "Authorization: AWS4-HMAC-SHA256 x")
    assert signed_request.exit_code == 1
    assert "serves presigned links only" in signed_request.stdout
    escaped = invoke("explain", url.replace("&", "&amp;"))
    assert (escaped.exit_code, escaped.stdout.startswith("failed  link ")) == (1, True)
    assert "HTML-escaped" in escaped.stdout
    assert invoke("explain", url, "--header", "no colon").exit_code == 2
