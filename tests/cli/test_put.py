"""``oncegate put``: what is sent, what is sent again, and what is never sent twice."""

from __future__ import annotations

import base64
import hashlib
import io
import pathlib
import shlex
import subprocess
import sys

import pytest
from bad_server import Answer

from oncegate.cli.commands.put import upload_file
from oncegate.cli.main import Refusal
from oncegate.cli.transfer.answers import Patience
from oncegate.cli.transfer.client import open_client, read_url
from oncegate.cli.transfer.progress import progress_on_terminal
from oncegate.cli.transfer.uploading import CHUNK_BYTES, Content, read_content, upload

BODY = bytes(range(256)) * 3000
STORED = Answer(headers={"ETag": '"abc"'})


@pytest.fixture
def file(tmp_path: pathlib.Path) -> str:
    """What is uploaded."""
    path = tmp_path / "scan 1.png"
    path.write_bytes(BODY)
    return str(path)


def put(file: str, url: str, media_type: str | None = None, *, pauses: list[float] | None = None) -> str:
    """Upload without waiting."""
    patience = Patience(pause=([] if pauses is None else pauses).append)
    return upload_file(file, url, media_type, patience=patience)


def test_the_file_goes_with_its_length_type_and_checksum(run, serve, file: str) -> None:
    """A gateway refuses what does not fit; nothing is sent that an S3 link would have to sign."""
    server = serve(STORED)
    done = run("put", file, f"{server.url}/in/scan.png?once=p.x~'")
    assert (done.returncode, done.stdout, done.stderr) == (0, '"abc"\n', "")
    (asked,) = server.asked
    assert (asked.method, asked.target, asked.body) == ("PUT", "/in/scan.png?once=p.x~'", BODY)
    assert asked.headers["content-length"] == str(len(BODY))
    assert asked.headers["content-type"] == "image/png"
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    assert asked.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert not {"content-md5", "transfer-encoding", "expect"} & asked.headers.keys()
    assert not [name for name in asked.headers if name.startswith("x-amz-")]


def test_the_type_may_be_said(serve, file: str) -> None:
    """A link may take one type only, and the name may not tell it."""
    server = serve(STORED)
    put(file, f"{server.url}/x", "application/x-mine")
    put("/dev/null", f"{server.url}/x")
    assert [asked.headers["content-type"] for asked in server.asked] == [
        "application/x-mine",
        "application/octet-stream",
    ]
    assert server.asked[1].headers["content-length"] == "0"


def test_a_broken_upload_is_sent_anew_from_its_first_byte(serve, file: str) -> None:
    """The gateway keeps no half and has given the use back."""
    server = serve(Answer(read=1000), STORED)
    pauses: list[float] = []
    assert put(file, f"{server.url}/x", pauses=pauses) == '"abc"'
    assert [len(asked.body) for asked in server.asked] == [1000, len(BODY)]
    assert pauses == [0.5]


@pytest.mark.parametrize("status", [409, 502, 503])
def test_a_busy_link_is_tried_again_when_it_says(serve, file: str, status: int) -> None:
    """Another upload runs, or the lease of a killed one: 60 s at most."""
    server = serve(Answer(status=status, headers={"Retry-After": "5"}), STORED)
    pauses: list[float] = []
    assert put(file, f"{server.url}/x", pauses=pauses) == '"abc"'
    assert pauses == [5.0]


def test_patience_outlives_the_lease_of_a_killed_upload(serve, file: str) -> None:
    """With Retry-After: 5 at every attempt, the last is made after more than 60 s."""
    server = serve(Answer(status=409, headers={"Retry-After": "5"}))
    pauses: list[float] = []
    with pytest.raises(Refusal, match="409"):
        put(file, f"{server.url}/x", pauses=pauses)
    assert sum(pauses) > 60


@pytest.mark.parametrize("status", [400, 403, 412, 413, 415])
def test_a_refusal_ends_it_in_the_servers_words(run, serve, file: str, status: int) -> None:
    """Asking again would get the same."""
    server = serve(Answer(status=status, body=b"<Error><Message>An object stands there.</Message></Error>"))
    done = run("put", file, f"{server.url}/x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"An object stands there. ({status})\n"
    assert len(server.asked) == 1


def test_where_an_answer_was_lost_a_later_refusal_may_mean_success(serve, file: str) -> None:
    """The object may stand by the first try: saying only "refused" would be half the truth."""
    server = serve(Answer(is_lost=True), Answer(status=412, body=b"<Message>An object stands there.</Message>"))
    with pytest.raises(Refusal, match=r"An object stands there. \(412\); .*may have gone through"):
        put(file, f"{server.url}/x")


def test_stdin_is_sent_with_its_length(invoke, serve) -> None:
    """It may have to be sent twice, so it is kept aside; its type is that of the object's name."""
    server = serve(Answer(read=10), STORED)
    done = invoke("put", "-", f"{server.url}/a/b.tar?x=.png", stdin=BODY)
    assert (done.exit_code, done.stdout) == (0, '"abc"\n')
    assert server.asked[1].body == BODY
    assert server.asked[1].headers["content-type"] == "application/x-tar"


@pytest.mark.parametrize("name", ["fifo", "/dev/stdin", "<(cat scan)"])
def test_a_pipe_is_read_to_its_end_and_sent_with_its_length(
    serve, file: str, tmp_path: pathlib.Path, name: str
) -> None:
    """Whatever names it: it cannot be read twice, and was refused, or sent as nothing."""
    server = serve(Answer(read=10), STORED)
    command = f"{shlex.quote(sys.executable)} -m oncegate put {{}} {server.url}/a/b.tar"
    script = {
        "fifo": f"mkfifo pipe; cat {shlex.quote(file)} > pipe & {command.format('pipe')}",
        "/dev/stdin": f"cat {shlex.quote(file)} | {command.format('/dev/stdin')}",
        "<(cat scan)": command.format(f"<(cat {shlex.quote(file)})"),
    }[name]
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (0, '"abc"\n', "")
    assert server.asked[1].body == BODY
    assert server.asked[1].headers["content-length"] == str(len(BODY))
    assert server.asked[1].headers["content-type"] == "application/x-tar"


def test_the_checksum_pass_is_shown(tmp_path: pathlib.Path, file: str) -> None:
    """It reads all of a file before a byte is sent: of 100 GB the bar stood still for minutes."""
    shown: list[tuple[int, int | None]] = []

    class Shown:
        def name(self, what: str) -> None:
            """Not asked here."""

        def show(self, done_bytes: int, total_bytes: int | None) -> None:
            """Keep it."""
            shown.append((done_bytes, total_bytes))

    with pathlib.Path(file).open("rb") as opened:
        read_content(opened, "a/b", progress=Shown())
    assert shown[0] == (CHUNK_BYTES, len(BODY))
    assert shown[-1] == (len(BODY), len(BODY))


def test_what_cannot_be_read_is_usage_and_opens_no_link(run, serve, tmp_path: pathlib.Path, file: str) -> None:
    """Exit 2 before anything is sent."""
    server = serve(STORED)
    assert run("put", str(tmp_path / "missing"), f"{server.url}/x").returncode == 2
    assert run("put", str(tmp_path), f"{server.url}/x").returncode == 2
    assert run("put", file, "nonsense").returncode == 2
    assert run("put", file, f"{server.url}/x", "--type", "png").returncode == 2
    assert run("put", file, f"{server.url}/x", "--type", "a/b\r\nx: y").returncode == 2
    assert server.asked == []


@pytest.mark.parametrize("change_bytes", [-1, 1])
def test_a_file_that_changes_meanwhile_is_not_stored(serve, change_bytes: int) -> None:
    """Its length was said before its first byte: what follows is neither cut nor filled up."""
    server = serve(STORED)
    content = Content(
        file=io.BytesIO(BODY), size_bytes=len(BODY) + change_bytes, sha256=bytes(32), media_type="text/plain"
    )
    patience = Patience(pause=lambda _: None)
    with progress_on_terminal("x") as progress, open_client() as client, pytest.raises(Refusal, match="changed while"):
        upload(client, read_url(f"{server.url}/x"), content, patience=patience, progress=progress)
