"""The edge on one machine: the template that is deployed, the joined function, the referee. What is promised of links."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oncegate.aws.dev import CREDENTIALS, Dev
from oncegate.aws.reply import Reply
from oncegate.library.signer import Signer

NAVIGATION = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "none",
}
PREVIEW = {"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"}


class Edge:
    """A running edge, with links of its own."""

    def __init__(self, folder: Path) -> None:
        self.dev = Dev(folder, port=0)
        self.signer = Signer.from_config(self.dev.config)

    def fresh(self, data: bytes = b"secret") -> str:
        """A download link to a new object."""
        key = f"{secrets.token_hex(5)}.bin"
        self.dev.bucket[key] = data
        return self.signer.download(key).url

    def upload(self, key: str | None = None, **wish: object) -> str:
        """An upload link."""
        return self.signer.upload(key or f"inbox/{secrets.token_hex(5)}", **wish).url  # type: ignore[arg-type]

    def get(self, url: str, method: str = "GET", **headers: str) -> Reply:
        """Ask without a body."""
        return self.dev.served.ask(method, url, headers=headers)

    def put(self, url: str, body: bytes = b"new", **headers: str) -> Reply:
        """Send a body."""
        return self.dev.served.ask("PUT", url, body=body, headers=headers)

    def key_of(self, url: str) -> str:
        """The key that a link of a plain name is for."""
        return url.partition("?")[0].split("/", 3)[3]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """One edge for the tests of this module."""
    made = Edge(tmp_path_factory.mktemp("edge"))
    with contextlib.closing(made.dev):
        yield made


def test_a_link_opens_once(edge: Edge) -> None:
    """The object, then 403 in the gateway's words."""
    url = edge.fresh()
    assert edge.get(url).body == b"secret"
    again = edge.get(url)
    assert (again.status, again.code) == (403, "AccessDenied")
    assert b"This link has been used" in again.body


def test_a_link_in_another_spelling_is_the_same_link(edge: Edge) -> None:
    """Counted by what is signed: a published design counts the URL's text, and 720 orders of it are fresh links."""
    url = edge.fresh()
    path, _, query = url.partition("?")
    own, *signing = query.split("&")
    assert edge.get(f"{path}?{'&'.join([own, *reversed(signing)])}").body == b"secret"
    assert edge.get(url).status == 403
    assert edge.get(f"{path}?{'&'.join([*signing, own])}").status == 403


def test_of_eight_at_once_one_is_served(edge: Edge) -> None:
    """The race that the published designs lose."""
    url = edge.fresh()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = collections.Counter(reply.status for reply in pool.map(lambda _: edge.get(url), range(8)))
    assert statuses[200] == 1
    assert statuses[403] + statuses[503] == 7


def test_who_only_looks_spends_nothing(edge: Edge) -> None:
    """HEAD, OPTIONS, a preview agent and a browser's navigation, before the one who downloads."""
    url = edge.fresh()
    assert edge.get(url, "HEAD").status == 200
    assert edge.get(url, "OPTIONS").status in (200, 204)
    assert b"secret" not in edge.get(url, **PREVIEW).body
    assert b"secret" not in edge.get(url, **NAVIGATION).body
    assert edge.get(url).body == b"secret"
    assert edge.get(url, "HEAD").status == 403


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda url: url.partition("?")[0], "MissingKey"),
        (lambda url: url.replace("once=g.", "once=g2."), "AccessDenied"),
        (lambda url: url.replace(".bin", ".bim"), "AccessDenied"),
        (lambda url: url.replace("Key-Pair-Id=K", "Key-Pair-Id=J"), "InvalidKey"),
    ],
    ids=["unsigned", "more uses", "another object", "unknown key"],
)
def test_what_is_forged_runs_no_function(edge: Edge, change, code: str) -> None:
    """AWS's own words; and the link itself is untouched."""
    url, asked = edge.fresh(), len(edge.dev.served.seen)
    assert edge.get(change(url)).code == code
    assert len(edge.dev.served.seen) == asked
    assert edge.get(url).status == 200


def test_a_missing_object_costs_no_use(edge: Edge) -> None:
    """404, and the same link works once the object is there."""
    url = edge.signer.download("late.bin").url
    reply = edge.get(url)
    assert reply.status == 404
    assert b"NoSuchKey" in reply.body or b"does not exist" in reply.body
    edge.dev.bucket["late.bin"] = b"now"
    assert edge.get(url).body == b"now"
    assert edge.get(url).status == 403


def test_a_bucket_that_fails_costs_no_use(edge: Edge) -> None:
    """503 with Retry-After, no body of S3's, and the use is given back."""
    url = edge.fresh()
    edge.dev.bucket.fails_with = 503
    try:
        reply = edge.get(url)
    finally:
        edge.dev.bucket.fails_with = 0
    assert reply.status == 503
    assert "retry-after" in reply.headers
    assert b"The store is out of reach" in reply.body, "ours, not S3's"
    assert edge.get(url).body == b"secret"


def test_a_part_of_an_object_takes_no_use(edge: Edge) -> None:
    """Neither 206 nor 304 may come of a use: the whole is asked for."""
    url = edge.fresh(b"0123456789")
    reply = edge.get(url, Range="bytes=2-3", **{"If-None-Match": '"x"'})
    assert (reply.status, reply.body) == (200, b"0123456789")
    assert not edge.dev.served.seen[-1].sent_headers.keys() & {"range", "if-none-match"}


def test_an_upload_is_stored_once(edge: Edge) -> None:
    """200, then 403; and another link to the same key finds an object there."""
    url = edge.upload()
    assert edge.put(url, b"mine", **{"Content-Type": "text/plain"}).status == 200
    key = edge.key_of(url)
    assert edge.dev.bucket[key] == b"mine"
    assert edge.put(url, b"other").status == 403
    assert edge.put(edge.upload(key), b"other").status == 412
    assert edge.dev.bucket[key] == b"mine"


def test_an_upload_elsewhere_or_by_another_method_is_refused(edge: Edge) -> None:
    """Outside the prefixes, on a download link, without a body: nothing is stored."""
    assert edge.put(edge.upload("outside/x"), b"x").status in (403, 404)
    assert "outside/x" not in edge.dev.bucket
    download = edge.fresh()
    assert edge.put(download, b"x").status == 403
    assert edge.get(edge.upload()).status == 403
    assert edge.get(download, "DELETE").status == 403
    assert edge.get(download).body == b"secret"


def test_limits_of_an_upload_are_kept(edge: Edge) -> None:
    """What is signed into the link holds at the edge as at a gateway."""
    assert edge.put(edge.upload(max_bytes=3), b"four").status == 413
    assert edge.put(edge.upload(content_type="image/png"), b"x", **{"Content-Type": "text/plain"}).status == 415
    allowed = edge.upload(max_bytes=4, content_type="image/*")
    assert edge.put(allowed, b"four", **{"Content-Type": "image/png"}).status == 200


def test_what_a_viewer_adds_never_reaches_the_bucket(edge: Edge) -> None:
    """Each of these would be done in the distribution's name. A copy is refused, so that nobody thinks it was made."""
    copying = {"x-amz-copy-source": "/oncegate-dev-objects/hello.txt"}
    asked = len(edge.dev.served.seen)
    assert edge.put(edge.upload(), b"new", **copying).status == 400
    assert len(edge.dev.served.seen) == asked
    added = {
        "x-amz-acl": "public-read", "x-amz-tagging": "a=b", "x-amz-website-redirect-location": "/",
        "x-oncegate-claim": "g.forged", "Cookie": "a=b", "Authorization": "Bearer x",
    }  # fmt: skip
    assert edge.put(edge.upload(), b"new", **added).status == 200
    sent = edge.dev.served.seen[-1]
    assert not sent.sent_headers.keys() & {name.lower() for name in added if name != "x-oncegate-claim"}
    assert sent.sent_headers.get("x-oncegate-claim") != "g.forged"
    assert sent.query == ""


def test_a_claim_that_a_viewer_makes_up_gives_nothing_back(edge: Edge) -> None:
    """Else who has used a link makes it new."""
    url = edge.fresh()
    assert edge.get(url).status == 200
    claim = edge.dev.served.seen[-1].sent_headers["x-oncegate-claim"]
    edge.dev.bucket.fails_with = 503
    try:
        assert edge.get(url, **{"x-oncegate-claim": claim}).status == 403
    finally:
        edge.dev.bucket.fails_with = 0
    assert edge.get(url).status == 403


def test_no_answer_shows_what_stands_behind(edge: Edge) -> None:
    """Neither the claim nor the bucket; and no copy of an answer is kept."""
    url = edge.fresh()
    for reply in (edge.get(url, "HEAD"), edge.get(url), edge.get(url), edge.get(edge.signer.download("none").url)):
        assert not [name for name in reply.headers if name.startswith(("x-oncegate", "x-amz"))]
        assert "no-store" in reply.headers["cache-control"]
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert b"oncegate-dev-objects" not in reply.body


def test_other_commands_work_on_the_table(edge: Edge) -> None:
    """A link that is revoked by the command line is refused at the edge."""
    url = edge.fresh()

    def oncegate(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "oncegate", "--config", str(edge.dev.config), *arguments],
            env={"PATH": "", **CREDENTIALS}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout + done.stderr

    oncegate("revoke", url)
    reply = edge.get(url)
    assert reply.status == 403
    assert b"revoked" in reply.body
    used = edge.fresh()
    edge.get(used)
    assert "claimed" in oncegate("status", used)


def test_the_command_says_how_to_try_it(tmp_path: Path) -> None:
    """Two lines that can be pasted; ended by one signal, with exit status 0."""
    process = subprocess.Popen(
        [sys.executable, "-m", "oncegate", "aws", "dev", str(tmp_path / "dev"), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = [process.stdout.readline(), process.stdout.readline()]
    process.send_signal(2)
    said = process.communicate(timeout=30)[1]
    assert lines[0].startswith("curl 'http://127.0.0.1:")
    assert lines[1].startswith("curl -T FILE 'http://127.0.0.1:")
    assert "stopped" in said
    assert process.returncode == 0
