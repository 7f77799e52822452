"""A real gateway before a real bucket: once, in ranges, uploads, several gateways, and a store that does not answer."""

import base64
import concurrent.futures
import contextlib
import hashlib
import pathlib
import secrets
import time

import httpx
import pytest

from homes import Home
from oncegate.links.grant import Operation
from oncegate.stores.bucket.abilities import CHUNK_BYTES
from oncegate.testing.installation import Installation, free_port
from oncegate.testing.servers.ceph import CephServer

CALLERS = 16
BODY = bytes(range(256)) * 400
BIG = secrets.token_bytes(1 << 20) * 20

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(120),
    pytest.mark.xdist_group("object-store"),
    pytest.mark.usefixtures("aws_environment"),
]


class BucketHome(Installation):
    """An installation whose objects are in a bucket."""

    def __init__(self, folder, server, ledger="sqlite:./ledger.db"):
        self.bucket = server.make_bucket(f"objects-{secrets.token_hex(6)}")
        self.server = server
        tables = {
            "store": {"url": f"s3://{self.bucket}/team a"},
            "store.options": server.store_options,
            "ledger": {"url": ledger},
        }
        super().__init__(folder, tables=tables)

    def put(self, key, data):
        """Lay an object into the bucket, as another program would."""
        path = f"{self.bucket}/team%20a/{key}"
        self.server.request("PUT", path, content=data, headers={"content-type": "text/x-mine"}).raise_for_status()

    def stands(self, key):
        """What stands in the bucket, None for nothing."""
        answer = self.server.request("GET", f"{self.bucket}/team%20a/{key}")
        return None if answer.status_code == 404 else answer.raise_for_status().content

    def uploads_under_way(self):
        """Unfinished multipart uploads in the bucket."""
        return len(self.server.uploads_under_way(self.bucket))


@pytest.fixture(scope="module", params=["ministack", "ceph"])
def home(request, tmp_path_factory):
    """A gateway that runs, on each server in turn."""
    made = BucketHome(tmp_path_factory.mktemp("gateway"), request.getfixturevalue(request.param))
    with made.serve() as made.serving:
        yield made


def test_a_download_is_once(home: Home) -> None:
    """The object with the bucket's type and ETag, and then no byte of it."""
    home.put("once.txt", BODY)
    url = home.link("once.txt")
    first = httpx.get(url)
    assert (first.status_code, first.content) == (200, BODY)
    assert first.headers["content-type"].startswith("text/x-mine")
    assert first.headers["etag"] == f'"{hashlib.md5(BODY).hexdigest()}"'
    second = httpx.get(url)
    assert second.status_code == 403
    assert BODY[:64] not in second.content


def test_a_missing_object_spends_nothing(home: Home) -> None:
    """404, and the link works when the object is there."""
    url = home.link("later.txt")
    assert httpx.get(url).status_code == 404
    home.put("later.txt", BODY)
    assert httpx.get(url).status_code == 200


def test_ranges_are_one_use(home: Home) -> None:
    """A part, then the rest, by the same holder: together the object; beyond the end 416."""
    home.put("ranges.bin", BODY)
    url = home.link("ranges.bin")
    with httpx.Client() as client:
        assert client.get(url, headers={"range": f"bytes={len(BODY)}-"}).status_code == 416
        first = client.get(url, headers={"range": "bytes=0-999"})
        assert (first.status_code, first.content) == (206, BODY[:1000])
        rest = client.get(url, headers={"range": "bytes=1000-"})
        assert (rest.status_code, rest.content) == (206, BODY[1000:])
        assert rest.headers["content-range"] == f"bytes 1000-{len(BODY) - 1}/{len(BODY)}"
    assert httpx.get(url).status_code == 403


@pytest.mark.parametrize("data", [BODY, BIG], ids=["small", "large"])
def test_an_upload_is_once(home: Home, data: bytes) -> None:
    """200 and an ETag; the link again is refused, another link to the same key is 412; what stands is the first."""
    key = f"in/{secrets.token_hex(4)} é.bin"
    url, other = (home.link(key, operation=Operation.PUT) for _ in range(2))
    first = httpx.put(url, content=data, headers={"content-type": "image/x-mine"})
    assert first.status_code == 200, first.text
    assert first.headers["etag"]
    assert httpx.put(url, content=b"again").status_code in {403, 412}
    assert httpx.put(other, content=b"other").status_code == 412
    got = httpx.get(home.link(key))
    assert hashlib.sha256(got.content).digest() == hashlib.sha256(data).digest()
    assert got.headers["etag"] == first.headers["etag"]
    assert home.uploads_under_way() == 0


def test_a_broken_upload_leaves_nothing(home: Home) -> None:
    """A viewer leaves in the middle of a large body: no object, no parts, and the link is free again."""
    key = f"in/{secrets.token_hex(4)}.bin"
    url = home.link(key, operation=Operation.PUT)

    def half():
        yield BIG[: len(BIG) * 3 // 4]
        raise ConnectionError("the viewer left")

    with pytest.raises(ConnectionError):
        httpx.put(url, content=half(), headers={"content-length": str(len(BIG))})
    for _ in range(100):
        answer = httpx.put(url, content=BODY)
        if answer.status_code != 409:
            break
    assert answer.status_code == 200, answer.text
    assert httpx.get(home.link(key)).content == BODY
    assert home.uploads_under_way() == 0


WRONG = hashlib.sha256(b"another body").digest()


@pytest.mark.parametrize("may_replace", [False, True], ids=["create", "replace"])
@pytest.mark.parametrize(
    "size_bytes", [1024, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 9 << 20, 20 << 20], ids=lambda size: f"{size}B"
)
def test_a_wrong_checksum_changes_nothing(home: Home, size_bytes: int, may_replace: bool) -> None:
    """400, and neither then nor a second later does another object stand; the link is free and then stores.

    Ceph gets a large object as one PUT, which is over by its last byte: the checksum is compared after that has come.
    """
    key = f"in/{secrets.token_hex(4)}.bin"
    url, data = home.link(key, operation=Operation.PUT, may_replace=may_replace), BIG[:size_bytes]
    if may_replace:
        home.put(key, b"the good one")
    wrong = {"x-amz-checksum-sha256": base64.b64encode(WRONG).decode()}
    assert httpx.put(url, content=data, headers=wrong, timeout=30).status_code == 400
    until_s = time.monotonic() + 1
    while time.monotonic() < until_s:
        assert home.stands(key) == (b"the good one" if may_replace else None)
        time.sleep(0.05)
    assert home.uploads_under_way() == 0
    assert httpx.put(url, content=data, timeout=30).status_code == 200
    assert home.stands(key) == data


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("content-md5", base64.b64encode(hashlib.md5(b"another body").digest()).decode()),
        ("content-digest", f"sha-256=:{base64.b64encode(WRONG).decode()}:"),
        ("x-amz-content-sha256", WRONG.hex()),
    ],
    ids=["crc32", "md5", "content-digest", "content-sha256"],
)
def test_every_kind_of_checksum_changes_nothing(home: Home, name: str, value: str) -> None:
    """What is refused for one is refused for each of them before the object is placed."""
    key = f"in/{secrets.token_hex(4)}.bin"
    url = home.link(key, operation=Operation.PUT)
    assert httpx.put(url, content=BIG, headers={name: value}, timeout=30).status_code == 400
    assert home.stands(key) is None
    assert httpx.put(url, content=BIG, timeout=30).status_code == 200


def test_a_large_body_of_unknown_length_is_taken_or_told_to_say_it(home: Home) -> None:
    """Where one PUT must carry it, it is S3's 411 with words, and the link works again; in parts it is taken."""
    key = f"in/{secrets.token_hex(4)}.bin"
    url = home.link(key, operation=Operation.PUT)
    answer = httpx.put(url, content=(BIG[at : at + (1 << 20)] for at in range(0, 9 << 20, 1 << 20)), timeout=30)
    if isinstance(home.server, CephServer):
        assert (answer.status_code, "MissingContentLength" in answer.text) == (411, True)
        assert home.stands(key) is None
        answer = httpx.put(url, content=BIG[: 9 << 20], timeout=30)
    assert answer.status_code == 200
    assert home.stands(key) == BIG[: 9 << 20]


def test_a_download_is_once_of_many_callers(home: Home) -> None:
    """Callers race for one link: one gets the object from the bucket, the others no byte of it."""
    home.put("raced.bin", BODY)
    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        for _ in range(5):
            said = list(pool.map(lambda url: httpx.get(url, timeout=20), [home.link("raced.bin")] * CALLERS))
            assert sorted(answer.status_code for answer in said) == [200] + [403] * (CALLERS - 1)
            assert sum(len(answer.content) for answer in said if BODY[:256] in answer.content) == len(BODY)


@pytest.mark.timeout(600)
def test_a_large_object_goes_up_and_down_in_flat_memory(home: Home, is_nightly: bool) -> None:
    """By a link each way: what comes back is what was sent, bit by bit, and no gateway holds it whole meanwhile."""
    pieces = 4096 if is_nightly and isinstance(home.server, CephServer) else 64
    key, piece = f"in/{secrets.token_hex(4)}.bin", secrets.token_bytes(1 << 20)
    sent = hashlib.sha256()

    def body():
        for number in range(pieces):
            numbered = number.to_bytes(8) + piece[8:]
            sent.update(numbered)
            yield numbered

    before_mib = home.serving.peak_bytes() >> 20
    length = {"content-length": str(pieces << 20)}
    put = httpx.put(home.link(key, operation=Operation.PUT), content=body(), headers=length, timeout=30)
    assert put.status_code == 200, put.text
    url = home.link(key)
    with httpx.stream("GET", url, timeout=30) as answer:
        assert (answer.status_code, answer.headers["etag"]) == (200, put.headers["etag"])
        digest = hashlib.sha256()
        for piece in answer.iter_bytes():
            digest.update(piece)
    assert digest.digest() == sent.digest()
    assert (home.serving.peak_bytes() >> 20) - before_mib < 48
    assert httpx.get(url).status_code == 403


def test_the_store_away_is_503_and_spends_nothing(home: Home) -> None:
    """It does not answer: told within seconds; when it is back the link works, without a restart."""
    home.put("away.txt", BODY)
    url = home.link("away.txt")
    home.server.freeze()
    try:
        assert httpx.get(url, timeout=9.0).status_code == 503
    finally:
        home.server.thaw()
    assert httpx.get(url).content == BODY


@pytest.mark.parametrize(("name", "kind"), [("ministack", "dynamodb"), ("ministack", "s3"), ("ceph", "s3")])
def test_three_gateways_on_one_ledger_serve_once(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, name: str, kind: str
) -> None:
    """Gateways that share nothing but a server: of 48 callers one gets the object, the others no byte of it."""
    server = request.getfixturevalue(name)
    address = f"endpoint={server.url}&region=us-east-1"
    ledger = (
        f"dynamodb://links-{secrets.token_hex(4)}?{address}"
        if kind == "dynamodb"
        else f"s3://{server.make_bucket(f'ledger-{secrets.token_hex(6)}')}?{address}"
    )
    home = BucketHome(tmp_path, server, ledger)
    ports = [home.port, free_port(), free_port()]
    home.put("x.bin", BODY)
    host = {"host": f"127.0.0.1:{home.port}"}
    with contextlib.ExitStack() as stack:
        for port in ports:
            stack.enter_context(home.serve(home.write_config(f"{port}.toml", port=port)))
        clients = [stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}")) for port in ports] * 16
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(len(clients)))
        for _ in range(20):
            target = home.link("x.bin").removeprefix(home.public_url)
            said = list(pool.map(lambda client, at=target: client.get(at, headers=host, timeout=20), clients))
            assert sorted(answer.status_code for answer in said) == [200] + [403] * (len(clients) - 1)
            assert sum(len(answer.content) for answer in said if BODY[:256] in answer.content) == len(BODY)
