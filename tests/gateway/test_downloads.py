"""Downloads by real requests: the very bytes, headers that are true and safe, names and types."""

import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

import pytest

from homes import Home
from oncegate.links.disposition import content_disposition
from oncegate.links.sigv4 import presign_url
from oncegate.testing.raw_http import RawConnection, ask, target_of

SIZES = [0, 1, 16_383, 65_535, 65_536, 65_537, 262_144, 1_000_003]


@pytest.mark.parametrize("size_bytes", SIZES)
def test_body_is_the_object_byte_for_byte(gateway: Home, size_bytes: int) -> None:
    """Each size arrives whole: small ones go out in one message, large ones in pieces, and an empty one still claims."""
    data = bytes(i * 7 % 251 for i in range(min(size_bytes, 251))) * (size_bytes // 251 + 1)
    data = data[:size_bytes]
    url = gateway.fresh(data)
    answer = ask("GET", url)
    assert (answer.status, answer.is_whole, answer.body == data) == (200, True, True)
    assert answer.header("content-length") == str(size_bytes)
    assert answer.header("transfer-encoding") is None
    assert ask("GET", url).status == 403


def test_headers_name_the_version_and_keep_the_answer_out_of_caches(gateway: Home) -> None:
    """ETag, date and length are there; no cache, no proxy buffer, no sniffing: else a cache would repeat the object."""
    key = gateway.lay(b"abc", "report.pdf")
    answer = ask("GET", gateway.link(key))
    assert re.fullmatch(r'"[^"]+"', answer.header("etag"))
    modified = parsedate_to_datetime(answer.header("last-modified")).timestamp()
    assert int(modified) == int((gateway.objects / key).stat().st_mtime)
    assert answer.header("accept-ranges") == "bytes"
    assert answer.header("cache-control") == "private, no-store"
    assert answer.header("x-accel-buffering") == "no"
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("referrer-policy") == "no-referrer"
    assert "sandbox" in answer.header("content-security-policy")
    assert answer.header("content-type") == "application/pdf"
    assert answer.header("server") == "oncegate"


def test_head_says_what_get_would_and_has_no_body(gateway: Home) -> None:
    """HEAD has the headers of GET, and nothing behind them: bytes there would be taken for the next answer."""
    url = gateway.fresh(b"x" * 100)
    with RawConnection(url) as connection:
        connection.send_request("HEAD", target_of(url), host=gateway.public_url[7:])
        head = connection.read_answer(is_head=True)
        connection.send_request("GET", target_of(url), host=gateway.public_url[7:])
        body = connection.read_answer()
    assert (head.status, body.status, body.body_bytes) == (200, 200, 100)
    for name in ("content-length", "etag", "last-modified", "content-type", "content-disposition"):
        assert head.header(name) == body.header(name)


@pytest.mark.parametrize(
    ("key", "media_type"),
    [
        ("a.html", "text/html"),
        ("a.svg", "image/svg+xml"),
        ("a.PDF", "application/pdf"),
        ("a.tar.gz", "application/gzip"),
        ("noextension", "application/octet-stream"),
    ],
)
def test_objects_are_saved_and_not_shown_unless_the_link_says_so(gateway: Home, key: str, media_type: str) -> None:
    """What an uploader named .html or .svg must not run on our origin: attachment, whatever the type."""
    answer = ask("GET", gateway.fresh(b"<script>1</script>", key))
    assert answer.header("content-type") == media_type
    assert answer.header("content-disposition") == f'attachment; filename="{key}"'


@pytest.mark.parametrize(
    ("key", "is_inline"),
    [("p.png", True), ("p.mp4", True), ("p.pdf", True), ("p.txt", True), ("p.html", False), ("p.svg", False)],
)
def test_inline_is_kept_for_types_that_run_nothing(gateway: Home, key: str, is_inline: bool) -> None:
    """A link may ask for inline; HTML and SVG stay attachments, because they would run on our origin."""
    disposition = ask("GET", gateway.fresh(b"data", key, inline=True)).header("content-disposition")
    assert disposition.startswith("inline" if is_inline else "attachment")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain.txt", 'attachment; filename="plain.txt"'),
        ('quo"te.txt', "attachment; filename=\"quo_te.txt\"; filename*=UTF-8''quo%22te.txt"),
        ("naïve €.txt", "attachment; filename=\"na_ve _.txt\"; filename*=UTF-8''na%C3%AFve%20%E2%82%AC.txt"),
        ("50%41.txt", "attachment; filename=\"50_41.txt\"; filename*=UTF-8''50%2541.txt"),
        ("a;b=c.txt", 'attachment; filename="a;b=c.txt"'),
    ],
)
def test_file_names_follow_rfc_6266_and_8187(gateway: Home, name: str, expected: str) -> None:
    """Quotes, percent signs and other scripts survive in filename*, and cannot break out of filename."""
    answer = ask("GET", gateway.fresh(b"data", filename=name))
    assert answer.header("content-disposition") == expected
    star = re.search(r"filename\*=UTF-8''(\S+)", expected)
    assert star is None or unquote(star[1]) == name


def test_a_backslash_cannot_break_out_of_the_quotes() -> None:
    """No link of ours names a file with one, but objects in the store may be called so."""
    written = content_disposition("attachment", 'quo"te\\.txt')
    assert written == "attachment; filename=\"quo_te_.txt\"; filename*=UTF-8''quo%22te%5C.txt"


@pytest.mark.parametrize(
    "key",
    [
        "with space.txt",
        "a+b.txt",
        "100%.txt",
        "hash#tag.txt",
        "what?.txt",
        "grüße/日本語.txt",
        "emoji-😀.txt",
        "a&b=c.txt",
        "quote'\".txt",
        "semi;colon.txt",
        "tilde~.txt",
        "%41.txt",
        "*.txt",
        " lead/trail .txt",
    ],
)
def test_object_keys_are_exact(gateway: Home, key: str) -> None:
    """A key that needs escapes is decoded once and never again: + is a plus, %41 in a key is no A."""
    url = gateway.fresh(key.encode(), key)
    assert ask("GET", url).body == key.encode()
    answer = ask("GET", gateway.link(key))
    assert answer.status == 200
    star = re.search(r"filename\*=UTF-8''(\S+)", answer.header("content-disposition"))
    saved = unquote(star[1]) if star else re.search('filename="(.*)"', answer.header("content-disposition"))[1]
    assert saved == key.rpartition("/")[2]


def test_signed_content_type_and_disposition_are_passed_on(gateway_with: Callable[..., Home]) -> None:
    """``response-content-*`` inside the signature decide, as in S3: an issuer knows better than a file's name."""
    home = gateway_with(credentials={"AKTEST": "secret-of-the-tests"}, links={"s3_region": "us-east-1"})
    key = home.lay(b"data", "named.bin")
    url = presign_url(
        f"{home.public_url}/{key}?response-content-type=image%2Fpng&response-content-disposition=inline%3B%20filename%3D%22x.png%22",
        method="GET",
        access_key_id="AKTEST",
        secret="secret-of-the-tests",
        region="us-east-1",
        now_s=int(time.time()),
        expires_in_s=60,
    )
    answer = ask("GET", url)
    assert answer.header("content-type") == "image/png"
    assert answer.header("content-disposition") == 'inline; filename="x.png"'


def test_unsigned_content_type_is_refused(gateway: Home) -> None:
    """A holder who adds response-content-type=text/html would choose what runs on our origin; the signature breaks."""
    url = gateway.fresh(b"<script>")
    assert ask("GET", url + "&response-content-type=text/html").status == 403
    assert ask("GET", url).status == 200


def test_missing_object_is_404_and_leaves_the_link(gateway: Home) -> None:
    """404 in S3's words, before anything is written: the object may come later, and the link then works."""
    url = gateway.link("later/comes.txt")
    answer = ask("GET", url)
    assert answer.status == 404
    assert "<Code>NoSuchKey</Code>" in answer.text
    assert gateway.record(url) is None
    gateway.put("later/comes.txt", b"here")
    assert ask("GET", url).body == b"here"


def test_neighbours_of_the_store_are_not_served(gateway: Home) -> None:
    """Folders, symlinks and the staging folder are no objects, though a genuine link names them."""
    gateway.put("folder/inside.txt", b"x")
    (gateway.objects / "way-out").symlink_to("/etc/passwd")
    (gateway.objects / "up").symlink_to("..")
    for key in ("folder", "way-out", "up/oncegate.toml", ".oncegate/staging", ".oncegate/replace.lock"):
        assert ask("GET", gateway.link(key)).status == 404, key


def test_connection_serves_one_request_after_another(gateway: Home) -> None:
    """Keep-alive: answers of different kinds follow each other on one connection, each with its own end."""
    urls = [gateway.fresh(b"first"), gateway.link("nowhere"), gateway.fresh(b"y" * 300_000), gateway.fresh(b"")]
    with RawConnection(gateway.public_url) as connection:
        answers = []
        for url in urls:
            connection.send_request("GET", target_of(url), host=gateway.public_url[7:])
            answers.append(connection.read_answer())
    assert [answer.status for answer in answers] == [200, 404, 200, 200]
    assert [answer.body_bytes for answer in answers if answer.status == 200] == [5, 300_000, 0]


def test_forged_link_is_refused_in_cloudfront_words(gateway: Home) -> None:
    """One fixed body for strangers: nothing of it says whether the object exists."""
    body = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access denied</Message></Error>'
    stands, missing = gateway.fresh(b"x"), gateway.link("missing")
    for url in (stands, missing):
        answer = ask("GET", url.replace("once=g.", "once=g2."))
        assert (answer.status, answer.body) == (403, body)
        assert answer.header("content-type") == "text/xml"
    plain = ask("GET", f"{gateway.public_url}/anything")
    assert plain.status == 403
    assert "<Code>MissingKey</Code>" in plain.text
