"""``oncegate link`` and ``oncegate ticket``: what is printed verifies, and what cannot be kept is refused."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import socket
import time
from dataclasses import replace

import pytest

from oncegate.cli.wiring import open_keys
from oncegate.keys.trust import trust_of
from oncegate.links.grant import Grant, Operation, Scheme
from oncegate.links.link_id import id_of_text, text_of_id
from oncegate.links.public_urls import PublicUrls
from oncegate.links.ticket import read_ticket
from oncegate.links.verify import verify
from oncegate.settings import load


def grant_of(url: str, folder: pathlib.Path, *, method: str = "GET", address: str | None = None) -> Grant:
    """What a gateway of this configuration grants."""
    settings = load(folder / "oncegate.toml", {})
    request = replace(
        PublicUrls(settings.viewer.public_url).request_to(url)[0].as_method(method),
        address=address,
        address_is_proof=True,
    )
    return verify(request, trust_of(settings, open_keys(settings).group), now_s=int(time.time()))


def test_the_url_alone_is_on_stdout_and_verifies(run, folder: pathlib.Path) -> None:
    """A script takes stdout as it is."""
    (folder / "objects" / "reports").mkdir()
    (folder / "objects" / "reports" / "2026 über.pdf").write_text("x")
    made = run("link", "reports/2026 über.pdf")
    assert (made.returncode, made.stderr, made.stdout.count("\n")) == (0, "", 1)
    grant = grant_of(made.stdout.strip(), folder)
    assert (grant.object_key, grant.operation, grant.uses) == ("reports/2026 über.pdf", Operation.GET, 1)
    assert grant.scheme is Scheme.CANNED
    assert 3590 < grant.expires_s - time.time() <= 3600


def test_every_limit_of_an_upload_is_signed(invoke, folder: pathlib.Path) -> None:
    """Else its holder would choose them."""
    options = ["--put", "--uses", "3", "--max-size", "10MB", "--type", "Image/*", "--overwrite", "--expires", "2d"]
    url = invoke("link", "in/a.png", *options).stdout.strip()
    grant = grant_of(url, folder, method="PUT")
    assert (grant.operation, grant.uses) == (Operation.PUT, 3)
    assert (grant.limits.max_bytes, grant.limits.media_type) == (10_000_000, "image/*")
    assert grant.limits.may_replace


def test_what_could_be_read_in_two_ways_is_echoed(invoke, folder: pathlib.Path) -> None:
    """On stderr, so that a script's stdout is the link alone; the usual link says nothing."""
    made = invoke("link", "in/*", "--put", "--expires", "2h", "--not-before", "+10m", "--max-size", "10M")
    lines = made.stderr.splitlines()
    assert re.fullmatch(r"opens until 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", lines[0])
    assert re.fullmatch(r"opens after 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", lines[1])
    assert lines[2] == "takes up to 10000000 bytes"
    assert "in/*" in lines[3]
    assert "no wildcard" in lines[3]
    assert made.stdout.startswith("http")
    assert made.stdout.count("\n") == 1
    (folder / "objects" / "a.pdf").write_text("x")
    assert invoke("link", "a.pdf").stderr == ""


def test_what_is_for_people_is_signed(invoke, folder: pathlib.Path) -> None:
    """Whether somebody is asked, and what the page says, are the issuer's to decide."""
    options = ["--confirm", "always", "--from", "Ada", "--note", "Für dich", "--json"]
    made = json.loads(invoke("link", "a.pdf", *options).stdout)
    limits = grant_of(made["url"], folder).limits
    assert (limits.confirm, limits.sender, limits.note) == ("always", "Ada", "Für dich")
    assert (made["confirm"], made["from"], made["note"]) == ("always", "Ada", "Für dich")
    assert invoke("link", "a.pdf", "--put", "--confirm", "always").exit_code == 2


def test_the_name_and_inline_are_signed(invoke, folder: pathlib.Path) -> None:
    """A browser saves under the issuer's name, not under the holder's."""
    url = invoke("link", "a.pdf", "--filename", "Bericht für Ada.pdf", "--inline").stdout.strip()
    disposition = grant_of(url, folder).limits.disposition or ""
    assert disposition.startswith("inline; filename=")
    assert "filename*=UTF-8''Bericht%20f%C3%BCr%20Ada.pdf" in disposition


def test_an_address_and_a_beginning_need_a_custom_policy(invoke, folder: pathlib.Path) -> None:
    """A canned policy would drop them silently."""
    made = invoke("link", "a.pdf", "--ip", "203.0.113.0/24", "--not-before", "-1m", "--json")
    facts = json.loads(made.stdout)
    assert (facts["scheme"], facts["source_ip"]) == ("cloudfront-custom", "203.0.113.0/24")
    assert grant_of(facts["url"], folder, address="203.0.113.9").scheme is Scheme.CUSTOM


def test_json_says_what_was_decided(invoke, folder: pathlib.Path) -> None:
    """The id in it is what status and revoke take."""
    facts = json.loads(invoke("link", "a.pdf", "--json", "--uses", "2").stdout)
    assert {"id", "url", "key", "operation", "uses", "expires_at"} <= facts.keys()
    assert (facts["key"], facts["operation"], facts["uses"]) == ("a.pdf", "get", 2)
    assert id_of_text(facts["id"]) == grant_of(facts["url"], folder).link_id
    assert facts["expires_at"].endswith("Z")


def test_a_qr_code_leaves_stdout_alone(invoke, folder: pathlib.Path) -> None:
    """It is words, so it goes to stderr."""
    made = invoke("link", "a.pdf", "--qr")
    assert made.stdout.startswith("http://")
    assert made.stdout.count("\n") == 1
    assert "\N{FULL BLOCK}" in made.stderr


def test_a_link_that_no_qr_code_holds_is_refused_before_it_is_printed(invoke, folder: pathlib.Path) -> None:
    """A script would take the URL for a success."""
    made = invoke("link", "\N{SNOWMAN}" * 340, "--qr")
    assert (made.exit_code, made.stdout) == (2, "")
    assert "a QR code holds" in made.stderr


def test_s3_links_are_signed_with_the_first_credential(invoke, folder: pathlib.Path) -> None:
    """They need no key pair, and no private key is opened for them."""
    with (folder / "oncegate.toml").open("a") as file:
        file.write('AKIDEXAMPLE = "secret"\n')
    for path in (folder / "private").iterdir():
        path.unlink()
    made = invoke("link", "a.pdf", "--scheme", "s3", "--put", "--json")
    assert made.exit_code == 0, made.stderr
    grant = grant_of(json.loads(made.stdout)["url"], folder, method="PUT")
    assert (grant.scheme, grant.key_id) == (Scheme.S3, "AKIDEXAMPLE")


def test_the_home_of_the_configuration_goes_into_tickets(
    invoke, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it no gateway of another home would know that the link is not its own."""
    monkeypatch.setenv("ONCEGATE_LINKS__HOME", "eu1")
    assert "once=g." in invoke("link", "a").stdout
    assert ".eu1&" in invoke("link", "a").stdout
    assert invoke("ticket").stdout.endswith(".eu1\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--expires", "8d"], "links live at most 604800 seconds here, this one would live 691200"),
        (["--expires", "0s"], "its end lies in the past"),
        (["--expires", "2020-01-01T00:00:00Z"], "its end lies in the past"),
        (["--expires", "2099-01-01T00:00:00"], "has no zone"),
        (["--expires", "soon"], "is no instant"),
        (["--not-before", "2h"], "could never be opened"),
        (["--uses", "0"], "--uses"),
        (["--uses", "10000"], "--uses"),
        (["--ip", "nowhere"], "nowhere"),
        (["--max-size", "10X", "--put"], "is no size"),
        (["--expires", "30"], "30s, 30m, 30h or 30d"),
        (["--filename", "a/b"], "the name of one file"),
        (["--max-size", "10MB"], "is for upload links"),
        (["--type", "png", "--put"], "write type/subtype"),
        (["--filename", "x", "--put"], "are for download links"),
        (["--scheme", "s3"], "needs an access key"),
        (["--scheme", "v2"], "--scheme"),
    ],
)
def test_what_no_link_could_keep_is_usage(invoke, folder: pathlib.Path, options: list[str], words: str) -> None:
    """Exit 2, nothing on stdout, and words that say what to change."""
    made = invoke("link", "a.pdf", *options)
    assert (made.exit_code, made.stdout) == (2, "")
    assert words in made.stderr


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a\\b", "a\tb", "k" * 1025])
def test_a_key_that_is_not_served_gets_no_link(invoke, folder: pathlib.Path, key: str) -> None:
    """Else the link would fail when it is opened, by then far away."""
    made = invoke("link", "--", key)
    assert (made.exit_code, made.stdout) == (2, "")
    assert "object key" in made.stderr


def test_the_longest_life_is_the_limit_itself(invoke, folder: pathlib.Path) -> None:
    """Both sides of max_lifetime."""
    assert invoke("link", "a", "--expires", "7d").exit_code == 0
    assert invoke("link", "a", "--expires", "604801s").exit_code == 2


def test_without_a_configuration_there_are_words_and_exit_2(run, tmp_path: pathlib.Path, monkeypatch) -> None:
    """The first thing that a newcomer sees."""
    monkeypatch.chdir(tmp_path)
    refused = run("link", "a")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "oncegate init" in refused.stderr


def test_no_message_holds_the_private_key(invoke, folder: pathlib.Path) -> None:
    """A damaged key is named, not quoted."""
    (private,) = (folder / "private").iterdir()
    text = private.read_text()
    private.write_text(text[:120] + "\n-----END PRIVATE KEY-----\n")
    made = invoke("link", "a")
    assert made.exit_code == 2
    assert str(private.name) in made.stderr
    assert text.splitlines()[1][:20] not in made.stderr


@pytest.mark.parametrize(("options", "begin"), [([], "g."), (["--put"], "p."), (["--put", "--uses", "3"], "p3.")])
def test_a_ticket_needs_no_configuration(
    run, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, options: list[str], begin: str
) -> None:
    """Whoever signs with another signer has none."""
    monkeypatch.chdir(tmp_path)
    made = run("ticket", *options)
    assert (made.returncode, made.stderr) == (0, "")
    name, _, value = made.stdout.strip().partition("=")
    assert name == "once"
    assert value.startswith(begin)
    assert read_ticket(value.encode(), now_s=int(time.time()), homes=()).operation.value == begin[0]


def test_tickets_are_fresh(invoke, folder: pathlib.Path) -> None:
    """Two links of one ticket would share their use."""
    nonces = {text_of_id(grant_of(invoke("link", "a").stdout.strip(), folder).link_id) for _ in range(5)}
    assert len(nonces) == 5


def test_a_link_to_nothing_says_so_and_what_may_be_meant(invoke, folder: pathlib.Path) -> None:
    """The issuer hears it before the reader does; the link is printed all the same, for the object may come later."""
    for name in ("Report.pdf", "report-2026.pdf", "other.bin"):
        (folder / "objects" / name).write_text("x")
    made = invoke("link", "report.pdf")
    assert (made.exit_code, made.stdout.count("\n")) == (0, 1)
    assert "the store has no object report.pdf; did you mean Report.pdf or report-2026.pdf?" in made.stderr
    assert invoke("link", "other.bin").stderr == ""
    assert "no object" not in invoke("link", "report.pdf", "--put").stderr


def test_what_may_be_meant_is_looked_for_elsewhere_where_the_folder_is_wrong(invoke, folder: pathlib.Path) -> None:
    """A slip in the folder's name leaves nothing beside the object to compare with."""
    (folder / "objects" / "reports").mkdir()
    (folder / "objects" / "reports" / "q1.pdf").write_text("x")
    assert "did you mean reports/q1.pdf?" in invoke("link", "report/q1.pdf").stderr
    assert "did you mean" not in invoke("link", "entirely/different").stderr


def test_strict_prints_no_link_to_nothing(invoke, folder: pathlib.Path) -> None:
    """A script sends what is printed: exit 1 and an empty stdout stop it."""
    (folder / "objects" / "a.txt").write_text("x")
    assert invoke("link", "a.txt", "--strict").exit_code == 0
    missing = invoke("link", "b.txt", "--strict", "--json")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "did you mean a.txt?" in missing.stderr
    assert invoke("link", "a.txt", "--strict", "--put").exit_code == 2


def test_strict_takes_a_silent_store_for_no_answer(
    invoke, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not known is not there; without --strict the link needs no store at all."""
    shutil.rmtree(folder / "objects")
    made = invoke("link", "a.txt")
    assert (made.exit_code, made.stderr) == (0, "")
    strict = invoke("link", "a.txt", "--strict")
    assert (strict.exit_code, strict.stdout) == (1, "")
    assert "does not say whether" in strict.stderr


def test_a_store_that_does_not_answer_holds_no_link_up(
    run, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connected and never answered: the link is there at once, and the command ends soon after."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        options = {"endpoint": endpoint, "access_key_id": "a", "secret_access_key": "b", "region": "us-east-1"}
        environ = {
            "ONCEGATE_STORE__URL": "s3://bucket",
            "ONCEGATE_STORE__OPTIONS": json.dumps(options | {"allow_http": "true"}),
        }
        began = time.monotonic()
        made = run("link", "a.txt", environ=environ)
        assert (made.returncode, made.stderr) == (0, "")
        assert made.stdout.startswith("http://")
        assert time.monotonic() - began < 20
