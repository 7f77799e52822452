"""``oncegate share`` and ``oncegate request``: one command from a file to a link, and a link to be sent files through."""

from __future__ import annotations

import json
import pathlib
import time

import pytest

from oncegate.keys.trust import Trusting
from oncegate.links.grant import Grant, Operation
from oncegate.links.public_urls import PublicUrls
from oncegate.links.verify import verify_by_any_method
from oncegate.settings import load


def grant_of(url: str, folder: pathlib.Path) -> Grant:
    """What a link allows, as the gateway of this folder sees it."""
    settings = load(folder / "oncegate.toml", {})
    request, _ = PublicUrls(settings.viewer.public_url).request_to(url)
    return verify_by_any_method(request, Trusting(settings).now(), now_s=int(time.time()))[1]


def test_a_file_is_stored_and_its_link_printed(invoke, folder: pathlib.Path) -> None:
    """Under a fresh key that ends in its name, so that two files of one name are two objects."""
    (folder / "report.pdf").write_bytes(b"content")
    one, two = invoke("share", "report.pdf"), invoke("share", "report.pdf")
    keys = [grant_of(made.stdout.strip(), folder).object_key for made in (one, two)]
    assert len(set(keys)) == 2
    for key in keys:
        assert key.endswith("/report.pdf")
        assert (folder / "objects" / key).read_bytes() == b"content"


def test_several_files_get_a_link_each(invoke, folder: pathlib.Path) -> None:
    """One per line, in their order: a script reads them."""
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text(name)
    made = invoke("share", "a.txt", "b.txt", "--json", "--note", "Hello", "--uses", "3")
    facts = [json.loads(line) for line in made.stdout.splitlines()]
    assert [fact["key"].rpartition("/")[2] for fact in facts] == ["a.txt", "b.txt"]
    assert [(fact["note"], fact["uses"]) for fact in facts] == [("Hello", 3)] * 2


def test_what_comes_from_a_pipe_is_shared_too(invoke, folder: pathlib.Path) -> None:
    """``-`` is stdin, under the key that is named."""
    made = invoke("share", "-", "--as", "dumps/db.sql", stdin=b"select 1")
    assert grant_of(made.stdout.strip(), folder).object_key == "dumps/db.sql"
    assert (folder / "objects/dumps/db.sql").read_bytes() == b"select 1"


def test_nothing_is_written_over(invoke, folder: pathlib.Path) -> None:
    """A link that is out opens what it was made for."""
    (folder / "a.txt").write_text("new")
    (folder / "objects/kept.txt").write_text("old")
    made = invoke("share", "a.txt", "--as", "kept.txt")
    assert (made.exit_code, made.stdout) == (1, "")
    assert "nothing is written over" in made.stderr
    assert (folder / "objects/kept.txt").read_text() == "old"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["share", "missing.txt"], "no such file"),
        (["share", "objects"], "is a folder"),
        (["share", "oncegate.toml", "--note", "x" * 201], "at most 200 characters"),
        (["share", "oncegate.toml", "oncegate.toml", "--as", "x"], "for one file"),
        (["request", "a//b/"], "empty"),
        (["request", "--max-size", "much"], "--max-size"),
        (["request", "--qr=code.gif"], ".png or .svg"),
    ],
)
def test_what_cannot_be_is_usage_and_leaves_nothing(
    invoke, folder: pathlib.Path, arguments: list[str], words: str
) -> None:
    """It is known before a byte is stored."""
    made = invoke(*arguments)
    assert (made.exit_code, made.stdout) == (2, "")
    assert words in made.stderr
    assert list((folder / "objects").rglob("*")) == []


def test_a_request_takes_files_beneath_its_folder(invoke, folder: pathlib.Path) -> None:
    """One signature for all names beneath, so many uses; the link leads to the page."""
    made = invoke("request", "contracts/ada/", "--uses", "20", "--max-size", "2MB", "--type", "image/*")
    url = made.stdout.strip()
    assert "/contracts/ada/?once=p20." in url
    grant = grant_of(url, folder)
    assert (grant.operation, grant.uses, grant.is_any_key) == (Operation.PUT, 20, True)
    assert (grant.limits.max_bytes, grant.limits.media_type) == (2_000_000, "image/*")


def test_link_makes_the_same(invoke, folder: pathlib.Path) -> None:
    """``request`` is ``link --put`` with other words; a download link has no folder to open."""
    assert grant_of(invoke("link", "inbox/", "--put", "--uses", "20").stdout.strip(), folder).is_any_key
    refused = invoke("link", "inbox/")
    assert (refused.exit_code, refused.stdout) == (2, "")
    s3 = invoke("link", "inbox/", "--put", "--scheme", "s3")
    assert (s3.exit_code, "an S3 link is for one key" in s3.stderr) == (2, True)


@pytest.mark.parametrize(("name", "begins"), [("code.png", b"\x89PNG"), ("code.svg", b"<?xml")])
def test_a_qr_code_is_written_into_a_file(invoke, folder: pathlib.Path, name: str, begins: bytes) -> None:
    """For a letter or a poster; nobody else on the machine may read it."""
    made = invoke("link", "a.pdf", "--qr", name)
    assert made.exit_code == 0
    assert (folder / name).read_bytes().startswith(begins)
    assert (folder / name).stat().st_mode & 0o077 == 0


def test_a_qr_code_before_the_key_takes_nothing_of_it(invoke, folder: pathlib.Path) -> None:
    """``--qr`` had no value for long: what follows it is the key, unless it is a picture's name."""
    made = invoke("link", "--qr", "a.pdf")
    assert made.stdout.startswith("http://")
    assert "\N{FULL BLOCK}" in made.stderr
