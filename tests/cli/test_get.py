"""``oncegate get``: against a server that breaks, lies and chooses evil names."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import pathlib
import stat
import subprocess
import sys

import pytest
from bad_server import Answer

from oncegate.cli.commands.get import download
from oncegate.cli.main import Misuse, Refusal
from oncegate.cli.transfer.answers import Patience
from oncegate.cli.transfer.landing import FileLanding
from oncegate.cli.transfer.room import reserve

BODY = bytes(range(256)) * 1200
ETAG = '"version-1"'
WHOLE = {
    "ETag": ETAG,
    "Content-Disposition": 'attachment; filename="a.bin"',
    "Set-Cookie": "og-x=secret; Path=/; HttpOnly",
}


@pytest.fixture(autouse=True)
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def get(
    url: str, output: str | None = None, *, force: bool = False, pauses: list[float] | None = None, **limits: int
) -> str:
    """Download without waiting."""
    return download(
        url, output, is_forced=force, patience=Patience(pause=([] if pauses is None else pauses).append, **limits)
    )


def rest(start: int, body: bytes = BODY, **headers: str) -> Answer:
    """The answer to a Range that begins at ``start``."""
    content_range = f"bytes {start}-{len(body) - 1}/{len(body)}"
    return Answer(status=206, headers={"ETag": ETAG, "Content-Range": content_range, **headers}, body=body[start:])


def names(folder: pathlib.Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_download_is_saved_under_its_name_and_nothing_else_is_left(serve, here: pathlib.Path) -> None:
    """Neither the part nor what was known of it."""
    server = serve(Answer(headers=WHOLE, body=BODY))
    assert get(f"{server.url}/x/y?once=1") == "a.bin"
    assert (here / "a.bin").read_bytes() == BODY
    assert names(here) == ["a.bin"]


def test_the_path_alone_is_on_stdout(run, serve, here: pathlib.Path) -> None:
    """A script takes it; without a terminal there is no progress bar."""
    server = serve(Answer(headers=WHOLE, body=BODY))
    done = run("get", f"{server.url}/x")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a.bin\n", "")


def test_the_url_is_asked_for_byte_by_byte(serve) -> None:
    """A signature is over these bytes; a client that tidies them up makes it false."""
    server = serve(Answer(headers=WHOLE, body=BODY))
    target = "/a%7eb/'(x)*!/%2e/..;/c?once=g.A&x=%7E~'[]|&&Signature=a-b~c__"
    get(server.url + target)
    assert server.asked[0].target == target


def test_a_broken_download_is_resumed_by_its_holder(serve, here: pathlib.Path) -> None:
    """The rest is asked for with the cookie of the claim, for this version only: the same use of the link."""
    third = len(BODY) // 3
    server = serve(Answer(headers=WHOLE, body=BODY, cut=third), rest(third))
    assert get(f"{server.url}/x") == "a.bin"
    assert (here / "a.bin").read_bytes() == BODY
    first, second = server.asked
    assert not {"range", "cookie", "if-range"} & first.headers.keys()
    assert second.headers["range"] == f"bytes={third}-"
    assert (second.headers["if-range"], second.headers["cookie"]) == (ETAG, "og-x=secret")


def test_it_may_break_often_as_long_as_it_gets_on(serve, here: pathlib.Path) -> None:
    """Patience is for attempts without progress: a long download over a bad line must end."""
    step = len(BODY) // 30 + 1
    starts = range(step, len(BODY), step)
    answers = [Answer(headers=WHOLE, body=BODY, cut=step)]
    for start in starts:
        answer = rest(start)
        answer.cut = step
        answers.append(answer)
    server = serve(*answers)
    assert get(f"{server.url}/x") == "a.bin"
    assert (here / "a.bin").read_bytes() == BODY
    assert len(server.asked) == 1 + len(starts)


def test_another_run_of_the_command_goes_on(serve, here: pathlib.Path) -> None:
    """The part and what proves whose it is are kept beside each other, for the owner's eyes only."""
    third = len(BODY) // 3
    server = serve(Answer(headers=WHOLE, body=BODY, cut=third), Answer(status=503), rest(third))
    with pytest.raises(Refusal):
        get(f"{server.url}/x?once=secret", attempts_max=2)
    assert names(here) == ["a.bin.part", "a.bin.part.json"]
    assert (here / "a.bin.part").read_bytes() == BODY[:third]
    state = here / "a.bin.part.json"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert "once" not in state.read_text()
    assert get(f"{server.url}/x?once=secret") == "a.bin"
    assert (here / "a.bin").read_bytes() == BODY
    assert server.asked[-1].headers["cookie"] == "og-x=secret"
    assert names(here) == ["a.bin"]


def test_a_part_of_another_link_is_not_gone_on_with(serve, here: pathlib.Path) -> None:
    """Two links may lead to objects of one name: their bytes must not be mixed."""
    server = serve(Answer(headers=WHOLE, body=BODY, cut=9), Answer(status=503), Answer(headers=WHOLE, body=BODY))
    with pytest.raises(Refusal):
        get(f"{server.url}/x?once=1", attempts_max=2)
    assert get(f"{server.url}/x?once=2") == "a (1).bin"
    assert "range" not in server.asked[-1].headers
    with pytest.raises(Misuse, match="is of another link"):
        get(f"{server.url}/x?once=3", "a.bin")
    assert get(f"{server.url}/x?once=3", "a.bin", force=True) == "a.bin"


def test_without_a_version_to_name_it_begins_anew(serve, here: pathlib.Path) -> None:
    """A Range without If-Range could glue two versions together."""
    server = serve(Answer(headers={"ETag": "W/" + ETAG}, body=BODY, cut=9), Answer(body=BODY))
    assert get(f"{server.url}/x") == "x"
    assert "range" not in server.asked[1].headers
    assert (here / "x").read_bytes() == BODY


def test_an_object_that_was_replaced_is_loaded_from_its_beginning(serve, here: pathlib.Path) -> None:
    """If-Range answers 200 with the new version: nothing of the old one may stay."""
    new = BODY[::-1] + b"!"
    server = serve(Answer(headers=WHOLE, body=BODY, cut=9), Answer(headers={**WHOLE, "ETag": '"2"'}, body=new))
    get(f"{server.url}/x")
    assert (here / "a.bin").read_bytes() == new


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (rest(8), "another part"),
        (rest(9, ETag='"version-2"'), "was replaced"),
        (rest(9, BODY + b"!"), "was replaced"),
        (Answer(status=206, headers={"ETag": ETAG}, body=BODY[9:]), "another part"),
        (
            Answer(
                status=206, headers={"ETag": ETAG, "Content-Range": f"bytes 9-11/{len(BODY)}"}, body=BODY[9:] + b"!"
            ),
            "more than",
        ),
    ],
)
def test_a_part_that_does_not_fit_ends_it(serve, here: pathlib.Path, answer: Answer, words: str) -> None:
    """Of a part, everything is compared with what was known before."""
    server = serve(Answer(headers=WHOLE, body=BODY, cut=9), answer)
    with pytest.raises(Refusal, match=words):
        get(f"{server.url}/x")
    assert not (here / "a.bin").exists()


def test_a_part_where_the_whole_was_asked_for_is_refused(serve) -> None:
    """Nobody asked for a range."""
    server = serve(rest(0))
    with pytest.raises(Refusal, match="where the whole was asked for"):
        get(f"{server.url}/x")


def test_a_length_that_never_comes_ends_it(serve, here: pathlib.Path) -> None:
    """A server that announces more than it has: patience ends, and no file pretends to be whole."""
    lie = {**WHOLE, "Content-Length": str(len(BODY) + 5)}
    server = serve(
        Answer(headers=lie, body=BODY), Answer(status=416, body=b"<Error><Message>no more</Message></Error>")
    )
    with pytest.raises(Refusal, match=r"no more \(416\)"):
        get(f"{server.url}/x")
    assert names(here) == ["a.bin.part", "a.bin.part.json"]


def b64(data: bytes) -> str:
    """As checksums stand in headers."""
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-MD5", b64(hashlib.md5(b"other").digest())),
        ("x-amz-checksum-sha256", b64(hashlib.sha256(b"other").digest())),
        ("Repr-Digest", f"sha-256=:{b64(hashlib.sha256(b'other').digest())}:"),
        ("Repr-Digest", f"sha-512=:xx:, sha-256=:{b64(hashlib.sha256(b'other').digest())}:"),
    ],
)
def test_a_wrong_checksum_leaves_no_file(serve, here: pathlib.Path, name: str, value: str) -> None:
    """Neither the file nor a part that another run would take for a beginning."""
    server = serve(Answer(headers={**WHOLE, name: value}, body=BODY))
    with pytest.raises(Refusal, match="checksum differs"):
        get(f"{server.url}/x")
    assert names(here) == []


def test_a_right_checksum_holds_over_breaks_and_runs(serve, here: pathlib.Path) -> None:
    """It is of the whole object: bytes of an earlier run count too."""
    digest = f"sha-256=:{b64(hashlib.sha256(BODY).digest())}:"
    server = serve(
        Answer(headers={**WHOLE, "Repr-Digest": digest}, body=BODY, cut=9),
        Answer(status=503),
        rest(9, **{"Content-MD5": b64(hashlib.md5(BODY[9:]).digest())}),
    )
    with pytest.raises(Refusal):
        get(f"{server.url}/x", attempts_max=2)
    assert json.loads((here / "a.bin.part.json").read_text())["digests"]["sha256"] == hashlib.sha256(BODY).hexdigest()
    assert get(f"{server.url}/x") == "a.bin"


def test_a_checksum_that_is_none_is_not_compared(serve) -> None:
    """S3's checksum of a multipart upload ends in its number of parts."""
    headers = {**WHOLE, "x-amz-checksum-sha256": b64(hashlib.sha256(b"x").digest()) + "-3", "Content-MD5": "?"}
    server = serve(Answer(headers=headers, body=BODY))
    assert get(f"{server.url}/x") == "a.bin"


@pytest.mark.parametrize("status", [409, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again_when_it_says(serve, status: int) -> None:
    """Retry-After is honoured, within reason."""
    busy = Answer(status=status, headers={"Retry-After": "7"}, body=b"<Error><Message>Please retry.</Message></Error>")
    pauses: list[float] = []
    server = serve(busy, Answer(status=status, headers={"Retry-After": "86400"}), Answer(headers=WHOLE, body=BODY))
    assert get(f"{server.url}/x", pauses=pauses) == "a.bin"
    assert pauses == [7.0, 30.0]


def test_patience_ends(serve) -> None:
    """Eight attempts, longer and longer apart, then the words of the server."""
    pauses: list[float] = []
    server = serve(Answer(status=503, body=b"<Error><Message>Please retry.</Message></Error>"))
    with pytest.raises(Refusal, match=r"Please retry\. \(503\)"):
        get(f"{server.url}/x", pauses=pauses)
    assert (len(server.asked), pauses) == (8, [0.5, 1, 2, 4, 8, 16, 30])


def test_a_host_that_never_answered_is_given_up_soon(run, here: pathlib.Path) -> None:
    """A wrong port does not get better; the message names the host, and nothing of the secret."""
    done = run("get", "http://127.0.0.1:1/x?once=secret")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("127.0.0.1:1: ")
    assert "secret" not in done.stderr
    assert names(here) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>This link has been used.</Message></Error>',
            "This link has been used. (403)",
        ),
        (b"<Error>\n<Message>a &lt;b&gt;\n c</Message></Error>", "a <b> c (403)"),
        (b'{"title": "AccessDenied", "detail": "This link has expired."}', "This link has expired. (403)"),
        (b'{"detail": ["x"], "title": 5}', "Forbidden (403)"),
        (b"<html>no</html>", "Forbidden (403)"),
        (b"", "Forbidden (403)"),
        (b"\xff\xfe" * 9, "Forbidden (403)"),
        (b"[" * 60_000, "Forbidden (403)"),
        (b"<Message>\x1b[2J\x07evil</Message>", "\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}evil (403)"),
        (b"<Message>" + b"x" * 9000 + b"</Message>", "x" * 500 + " (403)"),
    ],
    ids=range(10),
)
def test_a_refusal_is_in_the_servers_words(run, serve, here: pathlib.Path, body: bytes, words: str) -> None:
    """Exit 1, nothing on stdout, no file; what a server says moves no cursor."""
    server = serve(Answer(status=403, body=body))
    done = run("get", f"{server.url}/x")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", words + "\n")
    assert names(here) == []


def test_a_redirect_is_not_followed(serve) -> None:
    """It would show the signed URL to whoever it names."""
    server = serve(Answer(status=302, headers={"Location": "http://127.0.0.1:1/"}))
    with pytest.raises(Refusal, match=r"Found \(302\)"):
        get(f"{server.url}/x")


@pytest.mark.parametrize(
    ("disposition", "saved"),
    [
        ('attachment; filename="../../x"', "x"),
        ('attachment; filename="/etc/passwd"', "passwd"),
        ('attachment; filename="..\\\\..\\\\x.exe"', "x.exe"),
        ("attachment; filename*=UTF-8''..%2F..%2Fx", "x"),
        ("attachment; filename*=UTF-8''na%C3%AFve%20b.txt; filename=\"plain.txt\"", "naïve b.txt"),
        ("attachment; filename=\"plain.txt\"; filename*=UTF-16''x", "plain.txt"),
        ('attachment; filename="a\\"b.txt"', 'a"b.txt'),
        ("attachment; filename=token.txt; x=y", "token.txt"),
        ('attachment; filename=".bashrc"', "_bashrc"),
        ('attachment; filename=".."', "url-name"),
        ('attachment; filename=""', "url-name"),
        ("inline", "url-name"),
        ("attachment; filename*=UTF-8''a%00b%0Ac%E2%80%AEgpj.exe", "a_b_c_gpj.exe"),
        (f'attachment; filename="{"n" * 400}.tar.gz"', "n" * 197 + ".gz"),
    ],
)
def test_a_proposed_name_chooses_no_folder(serve, here: pathlib.Path, disposition: str, saved: str) -> None:
    """Basename only, on one line, not hidden, short enough for a file system."""
    inner = here / "in" / "ner"
    inner.mkdir(parents=True)
    server = serve(Answer(headers={"Content-Disposition": disposition}, body=b"x"))
    assert get(f"{server.url}/some/url-name", f"{inner}/") == str(inner / saved)
    assert names(inner) == [saved]
    assert names(here) == ["in"]


def test_a_url_without_a_name_has_one_too(serve, here: pathlib.Path) -> None:
    """Wildcards and empty paths end in nothing."""
    server = serve(Answer(body=b"x"))
    assert get(f"{server.url}/a/..%2F") == "download"
    assert get(f"{server.url}/a/b%2F..%2Fc.txt") == "c.txt"


def test_a_file_that_stands_is_never_replaced(serve, here: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The link is open by the time its name is known: so the bytes are saved, beside."""
    (here / "a.bin").write_text("mine")
    server = serve(Answer(headers=WHOLE, body=BODY))
    assert get(f"{server.url}/x") == "a (1).bin"
    assert get(f"{server.url}/x") == "a (2).bin"
    assert (here / "a.bin").read_text() == "mine"
    assert "a.bin exists" in capsys.readouterr().err
    assert get(f"{server.url}/x", force=True) == "a.bin"
    assert (here / "a.bin").read_bytes() == BODY


def test_a_named_file_that_stands_is_refused_before_the_link_is_opened(run, serve, here: pathlib.Path) -> None:
    """Exit 2, and the use is not spent; a link to nowhere stands too."""
    (here / "mine").write_text("mine")
    (here / "nowhere").symlink_to(here / "missing")
    server = serve(Answer(headers=WHOLE, body=BODY))
    for name in ("mine", "nowhere", "no/such/folder"):
        assert run("get", f"{server.url}/x", "-o", name).returncode == 2
    assert server.asked == []
    assert run("get", f"{server.url}/x", "-o", "mine", "--force").stdout == "mine\n"


def test_a_file_that_appears_meanwhile_is_not_replaced(
    serve, here: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came stays in the part."""
    write = FileLanding.write

    def intrude(landing: FileLanding, data: bytes) -> None:
        (here / "a.bin").write_text("mine")
        write(landing, data)

    monkeypatch.setattr(FileLanding, "write", intrude)
    server = serve(Answer(headers=WHOLE, body=BODY))
    with pytest.raises(Refusal, match="appeared meanwhile"):
        get(f"{server.url}/x")
    assert (here / "a.bin").read_text() == "mine"
    assert (here / "a.bin.part").read_bytes() == BODY


def test_a_link_in_place_of_the_part_is_not_followed(serve, here: pathlib.Path) -> None:
    """In a folder that others may write, it would choose what is overwritten."""
    (here / "victim").write_text("mine")
    (here / "b.bin.part").symlink_to(here / "victim")
    server = serve(Answer(headers=WHOLE, body=BODY))
    with pytest.raises(Misuse, match=r"b\.bin\.part is of another link"):
        get(f"{server.url}/x", "b.bin")
    assert (here / "victim").read_text() == "mine"


def test_two_commands_do_not_write_one_part(serve, here: pathlib.Path) -> None:
    """The second says so, and asks for nothing."""
    server = serve(Answer(headers=WHOLE, body=BODY, cut=9), Answer(status=503))
    with pytest.raises(Refusal):
        get(f"{server.url}/x", attempts_max=2)
    count = len(server.asked)
    with (here / "a.bin.part").open("rb") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        with pytest.raises(Misuse, match="another 'oncegate get'"):
            get(f"{server.url}/x")
    assert len(server.asked) == count


@pytest.mark.parametrize("damage", [b"", b"{", b'{"version": 2}', b"[]", b'{"version": 1, "link_sha256": 5}'])
def test_a_damaged_state_is_no_state(serve, here: pathlib.Path, damage: bytes) -> None:
    """It is a file like any other; it only means that the part is not ours to go on with."""
    (here / "a.bin.part.json").write_bytes(damage)
    server = serve(Answer(headers=WHOLE, body=BODY))
    assert get(f"{server.url}/x") == "a.bin"


def test_stdout_gets_the_bytes_and_nothing_else(serve, here: pathlib.Path) -> None:
    """A break is resumed in the middle of the pipe; no path is printed."""
    third = len(BODY) // 3
    server = serve(Answer(headers=WHOLE, body=BODY, cut=third), rest(third))
    command = [sys.executable, "-m", "oncegate", "get", f"{server.url}/x", "-o", "-"]
    done = subprocess.run(command, capture_output=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == BODY
    assert names(here) == []


def test_a_pipe_cannot_begin_anew(serve, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """What was written is gone: another version after it would be a third object."""
    server = serve(Answer(headers={}, body=BODY, cut=9), Answer(body=BODY))
    with pytest.raises(Refusal, match="cannot be resumed"):
        get(f"{server.url}/x", "-")


def test_a_body_without_a_length_is_taken_to_its_end(serve, here: pathlib.Path) -> None:
    """Chunked answers have their own end."""
    server = serve(Answer(headers={"Transfer-Encoding": "chunked"}, body=b"5\r\nhello\r\n0\r\n\r\n"))
    assert get(f"{server.url}/x") == "x"
    assert (here / "x").read_bytes() == b"hello"


def test_what_is_no_url_is_usage(run) -> None:
    """Exit 2, whatever was meant."""
    for text in ("x", "ftp://a/b", "http://", "http://a b/"):
        assert run("get", text).returncode == 2


def test_a_full_disk_is_said_and_the_part_stays(serve, here: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After making room the same command goes on."""

    def fail(landing: FileLanding, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FileLanding, "write", fail)
    server = serve(Answer(headers=WHOLE, body=BODY))
    with pytest.raises(Refusal, match="No space left on device: 0 bytes came; the same command goes on from there"):
        get(f"{server.url}/x")
    assert names(here) == ["a.bin.part", "a.bin.part.json"]


def test_what_comes_is_asked_first_and_no_use_is_taken_for_it(serve, here: pathlib.Path) -> None:
    """HEAD names the file and its size; its part and state are there before GET is sent."""
    server = serve(Answer(headers=WHOLE, body=BODY), head=Answer(headers=WHOLE, body=BODY))
    assert get(f"{server.url}/x/y?once=1") == "a.bin"
    assert [(asked.method, asked.target) for asked in server.asked] == [("HEAD", "/x/y?once=1"), ("GET", "/x/y?once=1")]
    assert names(here) == ["a.bin"]
    assert (here / "a.bin").read_bytes() == BODY


@pytest.mark.parametrize("status", [403, 404, 405, 500, 503])
def test_a_head_that_is_refused_says_nothing_of_the_link(serve, here: pathlib.Path, status: int) -> None:
    """S3 signs the method: a link for GET does not answer HEAD."""
    server = serve(Answer(headers=WHOLE, body=BODY), head=Answer(status=status))
    assert get(f"{server.url}/x") == "a.bin"
    assert [asked.method for asked in server.asked] == ["HEAD", "GET"]


def test_no_room_is_found_before_the_link_is_opened(serve, here: pathlib.Path) -> None:
    """It cost the use: the disk was full in the middle of the body."""
    huge = {**WHOLE, "Content-Length": str(2**59)}
    server = serve(Answer(headers=WHOLE, body=BODY), head=Answer(headers=huge))
    with pytest.raises(Refusal, match="the link was not opened"):
        get(f"{server.url}/x")
    assert [asked.method for asked in server.asked] == ["HEAD"]
    assert names(here) == []


@pytest.mark.parametrize("output", ["/proc/", "/proc/x.bin"])
@pytest.mark.parametrize("head", [None, Answer(headers=WHOLE, body=BODY)], ids=["no-head", "head"])
def test_a_file_that_cannot_be_made_opens_no_link(serve, here: pathlib.Path, output: str, head: Answer | None) -> None:
    """Found out after the answer, it cost the use and kept no byte; also where HEAD says nothing."""
    server = serve(Answer(headers=WHOLE, body=BODY), head=head)
    with pytest.raises(Refusal, match="the link was not opened"):
        get(f"{server.url}/x", output)
    assert "GET" not in [asked.method for asked in server.asked]
    assert names(here) == []


def test_a_name_that_no_file_system_takes_is_usage(serve, here: pathlib.Path) -> None:
    """Exit 2 and no trace of Python; nothing is asked."""
    server = serve(Answer(headers=WHOLE, body=BODY), head=Answer(headers=WHOLE))
    with pytest.raises(Misuse, match="name too long"):
        get(f"{server.url}/x", "n" * 256)
    assert server.asked == []


@pytest.mark.parametrize("length", [230, 244, 255])
@pytest.mark.parametrize("letter", ["n", "\N{GREEK SMALL LETTER ALPHA}"])
def test_a_name_as_long_as_a_file_system_takes_is_taken(serve, here: pathlib.Path, letter: str, length: int) -> None:
    """The names of the helpers are longer than the file's, and were too long from 245 bytes."""
    name = letter * (length // len(letter.encode()))
    third = len(BODY) // 3
    server = serve(Answer(headers=WHOLE, body=BODY, cut=third), Answer(status=503), rest(third))
    with pytest.raises(Refusal):
        get(f"{server.url}/x", name, attempts_max=1)
    assert len(names(here)) == 2
    assert get(f"{server.url}/x", name, attempts_max=2) == name
    assert names(here) == [name]


def test_a_refused_get_leaves_nothing_of_what_was_prepared(serve, here: pathlib.Path) -> None:
    """The link was used between the two questions, or asks a person."""
    refused = Answer(status=403, body=b"<Error><Message>Open this link in a browser.</Message></Error>")
    server = serve(refused, head=Answer(headers=WHOLE, body=BODY))
    with pytest.raises(Refusal, match=r"^Open this link in a browser. \(403\)$"):
        get(f"{server.url}/x")
    assert names(here) == []


def test_an_object_that_changed_after_head_is_saved_as_it_is_sent(serve, here: pathlib.Path) -> None:
    """What GET says counts: HEAD was of the version before."""
    old = {**WHOLE, "ETag": '"old"', "Content-Length": "7"}
    server = serve(Answer(headers=WHOLE, body=BODY), head=Answer(headers=old))
    assert get(f"{server.url}/x") == "a.bin"
    assert (here / "a.bin").read_bytes() == BODY


@pytest.mark.parametrize("is_begun", [True, False])
def test_an_interruption_says_what_is_left(
    serve, here: pathlib.Path, monkeypatch: pytest.MonkeyPatch, *, is_begun: bool
) -> None:
    """Ctrl-C in the middle: the use is taken, and the same command goes on; before it, nothing has happened."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FileLanding, "write" if is_begun else "note", interrupt)
    server = serve(Answer(headers=WHOLE, body=BODY), head=Answer(headers=WHOLE, body=BODY))
    words = "0 bytes came; the same command goes on from there" if is_begun else "the link was not opened"
    with pytest.raises(Refusal, match=f"^interrupted: {words}$"):
        get(f"{server.url}/x")


def test_room_is_reserved_and_the_file_stays_as_long_as_what_came(here: pathlib.Path) -> None:
    """Its length is how another run knows from where to go on."""
    with (here / "a").open("wb") as file:
        reserve(file.fileno(), 1_000_000)
        assert (here / "a").stat().st_size == 0
        with pytest.raises(OSError, match=r"space|large|quota"):
            reserve(file.fileno(), 2**60)
