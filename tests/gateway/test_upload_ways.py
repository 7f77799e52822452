"""Uploads that are refused when their last byte has come: by every way in which a store puts an object in place.

The checksum is compared after the last byte, and a viewer may go there; by then some ways have sent all that they will
ever send but one request, and one PUT that is sent while it comes is over by its last byte. So each way is tried at
both sides of the length from which it is taken, and at whole numbers of MiB, the pieces in which bytes are handed on.
"""

import base64
import hashlib
import secrets
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from homes import Home
from oncegate.links.grant import Operation
from oncegate.stores.bucket.abilities import CHUNK_BYTES, PUT_BYTES_MAX
from oncegate.testing.raw_http import RawConnection, ask, target_of
from oncegate.testing.servers.object_stores import store_options
from wrong_s3 import WrongS3

MIB = 1 << 20
PIECES = b"".join(b"%x\r\n%s\r\n" % (MIB, bytes(MIB)) for _ in range(20)) + b"0\r\n\r\n"
"""20 MiB whose length nobody said."""
SIZES = [1024, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 9 * MIB, 20 * MIB]
WAYS = {
    "file": None,
    "completion": (),
    "copy": ("ignores-completion-conditions",),
    "put": ("ignores-completion-conditions", "ignores-copy-conditions"),
}
"""By the faults of a server that leave only this way for large uploads."""
pytestmark = pytest.mark.xdist_group("upload-ways")  # one worker: it shares its gateways

OTHER = hashlib.sha256(b"another body").digest()


class Folder:
    """What stands in a ``file:`` store."""

    def __init__(self, home):
        self.home = home

    def lay(self, key, data):
        """Lay an object there, as another program would."""
        self.home.put(key, data)

    def stands(self, key):
        """Say what stands there; None for nothing."""
        path = self.home.objects / key
        return path.read_bytes() if path.exists() else None

    def is_idle(self):
        """Nothing is on its way: files are written in the process."""
        return True

    def leftovers(self):
        """Name what uploads left."""
        staging = self.home.objects / ".oncegate" / "staging"
        return list(staging.iterdir()) if staging.exists() else []


class OneBucket:
    """What stands in the bucket of a server of these tests."""

    def __init__(self, home, server):
        self.home = home
        self.server = server

    def lay(self, key, data):
        """Lay an object there, as another program would."""
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        self.server.objects[key] = {"data": data, "etag": etag, "headers": {}, "at": self.server.now()}

    def stands(self, key):
        """Say what stands there; None for nothing."""
        found = self.server.objects.get(key)
        return found and found["data"]

    def is_idle(self):
        """Whether no request is on its way: what was broken off has been dropped, or has been kept."""
        return not self.server.open_requests

    def leftovers(self):
        """Name what uploads left."""
        return [*self.server.uploads, *(key for key in self.server.objects if ".oncegate" in key)]


@pytest.fixture(params=["file", "completion", *(pytest.param(way, marks=pytest.mark.slow) for way in ("copy", "put"))])
def place(
    request: pytest.FixtureRequest, gateway_with: Callable[..., Home], wrong_s3_of_way: Callable[[str], WrongS3]
) -> Folder | OneBucket:
    """A gateway before each kind of store."""
    if request.param == "file":
        return Folder(gateway_with())
    server = wrong_s3_of_way(request.param)
    tables = {"store": {"url": "s3://bucket"}, "store.options": store_options(server.url)}
    return OneBucket(gateway_with(**tables), server)


@pytest.fixture(scope="module")
def wrong_s3_of_way(wrong_s3_for_module: Callable[..., WrongS3]) -> Callable[[str], WrongS3]:
    """One server for each way, shared by the module's tests."""
    made = {}

    def get(way):
        if way not in made:
            made[way] = wrong_s3_for_module(*WAYS[way])
        return made[way]

    return get


def fresh_link(place, *, may_replace):
    """An upload link, its key, and what stands there before."""
    key = f"in/{secrets.token_hex(5)}.bin"
    before = b"the good one" if may_replace else None
    if before:
        place.lay(key, before)
    return place.home.link(key, operation=Operation.PUT, may_replace=may_replace), key, before


def assert_nothing_happened(place, until, url, key, before, data):
    """What stood stands, also when the store has got over what was broken off; and the link then stores."""
    assert place.stands(key) == before
    until(place.is_idle, "the store has dropped what was broken off")
    assert place.stands(key) == before
    again = until(lambda: (found := ask("PUT", url, body=data)).status != 409 and found, "its lease is over")
    assert again.status == 200
    assert place.stands(key) == data
    assert not place.leftovers()


@pytest.mark.parametrize("may_replace", [False, True], ids=["create", "replace"])
@pytest.mark.parametrize("size_bytes", SIZES)
def test_a_wrong_checksum_changes_nothing(
    place: Folder | OneBucket, until: Callable[..., Any], size_bytes: int, may_replace: bool
) -> None:
    """400, and neither is an object there nor is the good one replaced: all bytes had come, so all were at the store."""
    url, key, before = fresh_link(place, may_replace=may_replace)
    data = secrets.token_bytes(MIB) * (size_bytes // MIB) + bytes(size_bytes % MIB)
    wrong = {"x-amz-checksum-sha256": base64.b64encode(OTHER).decode()}
    assert ask("PUT", url, wrong, data).status == 400
    assert_nothing_happened(place, until, url, key, before, data)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-checksum-sha256", base64.b64encode(OTHER).decode()),
        ("x-amz-checksum-sha1", base64.b64encode(hashlib.sha1(b"another").digest()).decode()),
        ("x-amz-checksum-crc32", base64.b64encode(zlib.crc32(b"another").to_bytes(4)).decode()),
        ("content-md5", base64.b64encode(hashlib.md5(b"another").digest()).decode()),
        ("content-digest", f"sha-256=:{base64.b64encode(OTHER).decode()}:"),
        ("repr-digest", f"sha-256=:{base64.b64encode(OTHER).decode()}:"),
        ("x-amz-content-sha256", OTHER.hex()),
    ],
    ids=["sha256", "sha1", "crc32", "md5", "content-digest", "repr-digest", "content-sha256"],
)
def test_every_kind_of_checksum_changes_nothing(
    place: Folder | OneBucket, until: Callable[..., Any], name: str, value: str
) -> None:
    """They are compared in one place; nothing may compare one of them elsewhere, after the object was placed."""
    url, key, before = fresh_link(place, may_replace=True)
    data = bytes(9 * MIB)
    assert ask("PUT", url, {name: value}, data).status == 400
    assert_nothing_happened(place, until, url, key, before, data)


@pytest.mark.parametrize("missing_bytes", [1, MIB])
def test_a_viewer_who_goes_before_the_last_byte_changes_nothing(
    place: Folder | OneBucket, until: Callable[..., Any], missing_bytes: int
) -> None:
    """The rest of the body is one byte, or just the piece that is handed on at once: no part of it may be an object."""
    url, key, before = fresh_link(place, may_replace=True)
    data = bytes(9 * MIB)
    with RawConnection(url) as connection:
        host, length = url[7:].partition("/")[0], {"Content-Length": str(len(data))}
        connection.send_request("PUT", target_of(url), host=host, headers=length)
        connection.send(data[:-missing_bytes])
    until(lambda: place.home.record(url).lease is None, "the lease is let go")
    assert_nothing_happened(place, until, url, key, before, data)


def put_chunked(url, body):
    """Send a body whose length nobody said, and read the answer."""
    with RawConnection(url) as connection:
        host, chunked = url[7:].partition("/")[0], {"Transfer-Encoding": "chunked"}
        connection.send_request("PUT", target_of(url), host=host, headers=chunked)
        connection.send(body)
        return connection.read_answer()


def assert_logged(home, until, key, status, reason, fault):
    """The request's line has the reason, and a fault of the store says what to do about it."""

    def lines_of_it():
        lines = home.serving.log_lines()
        ids = [line["request_id"] for line in lines if line["event"] == "request" and line["key"] == key]
        return [line for line in lines if line.get("request_id") == ids[0]] if ids else []

    found, line = until(lines_of_it, "its line is written")
    assert (line["status"], line["reason"]) == (status, reason)
    assert (found["event"], fault in found["what"]) == ("fault", True), found


@pytest.mark.parametrize("place", ["file", "completion", "copy"], indirect=True)
def test_a_large_body_of_unknown_length_is_taken_in_parts(place: str) -> None:
    """Its length is needed by one way alone; the others must not ask for it."""
    url, key, _ = fresh_link(place, may_replace=False)
    assert put_chunked(url, PIECES).status == 200
    assert place.stands(key) == bytes(20 * MIB)


@pytest.mark.parametrize("place", ["put"], indirect=True)
def test_a_large_body_of_unknown_length_is_told_to_say_it(place: str, until: Callable[..., Any]) -> None:
    """S3's 411 where one PUT must carry it, when 8 MiB have come: 502 would be repeated as it is, again and again."""
    url, key, before = fresh_link(place, may_replace=False)
    answer = put_chunked(url, PIECES[: 9 * MIB])
    assert (answer.status, answer.header("retry-after")) == (411, None)
    assert "<Code>MissingContentLength</Code>" in answer.text
    assert_logged(place.home, until, key, 411, "length-needed", "must announce its length")
    assert_nothing_happened(place, until, url, key, before, bytes(20 * MIB))


@pytest.mark.parametrize("place", ["put"], indirect=True)
@pytest.mark.parametrize("size_bytes", [1, CHUNK_BYTES])
def test_a_small_body_of_unknown_length_is_taken(place: str, size_bytes: int) -> None:
    """Up to 8 MiB it is held, so that its length is known: a pipe into curl works on every store."""
    url, key, _ = fresh_link(place, may_replace=False)
    assert put_chunked(url, b"%x\r\n%s\r\n0\r\n\r\n" % (size_bytes, bytes(size_bytes))).status == 200
    assert place.stands(key) == bytes(size_bytes)


def test_more_than_one_put_can_carry_is_too_large(
    gateway_with: Callable[..., Home], wrong_s3_of_way: Callable[[str], WrongS3]
) -> None:
    """Known from the head: 413 before a byte is taken, and not a fault that is worth another try."""
    server = wrong_s3_of_way("put")
    tables = {"store": {"url": "s3://bucket"}, "store.options": store_options(server.url)}
    home = gateway_with(**tables)
    url = home.link("huge.bin", operation=Operation.PUT)
    answer = ask("PUT", url, {"Content-Length": str(PUT_BYTES_MAX + 1), "Expect": "100-continue"})
    assert answer.status == 413
    assert "<Code>EntityTooLarge</Code>" in answer.text


@pytest.mark.parametrize("size_bytes", [1000, 9 * MIB])
def test_a_store_that_never_takes_an_upload_says_so(
    gateway_with: Callable[..., Home],
    wrong_s3_for_module: Callable[..., WrongS3],
    until: Callable[..., Any],
    size_bytes: int,
) -> None:
    """501 is what no client repeats: the same answer would come for ever. The link is as it was."""
    server = wrong_s3_for_module("ignores-if-none-match")
    tables = {"store": {"url": "s3://bucket"}, "store.options": store_options(server.url)}
    home = gateway_with(**tables)
    url = home.link(f"{size_bytes}.bin", operation=Operation.PUT)
    answer = ask("PUT", url, body=bytes(size_bytes))
    assert (answer.status, answer.header("retry-after")) == (501, None)
    assert "<Code>NotImplemented</Code>" in answer.text
    assert "retry" not in answer.text
    assert_logged(home, until, f"{size_bytes}.bin", 501, "store-cannot-once", "keeps no condition")
    until(lambda: home.record(url).lease is None, "the lease is let go")
    assert not server.objects
