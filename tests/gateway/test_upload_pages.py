"""Where people send files: the page of an upload link in each state, and the form without a script."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping

import pytest

from homes import Home
from oncegate.links.grant import Operation
from oncegate.testing.raw_http import RawAnswer, ask
from oncegate.uses.use import revoke

NAVIGATION = {
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "cross-site",
    "Accept": "text/html,*/*;q=0.8",
}
BOUNDARY = "----WebKitFormBoundaryX7"


def form(data: bytes, name: str = "scan.png", media_type: str = "image/png", after: bytes = b"") -> bytes:
    """A form with one file, as a browser sends it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: {media_type}\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode() + after


def send(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> RawAnswer:
    """Press the form's button."""
    own = {**NAVIGATION, "Sec-Fetch-Site": "same-origin", "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return ask("POST", url, {**own, **(headers or {})}, body=body)


def test_a_form_stores_its_file_as_a_put_does(gateway: Home) -> None:
    """Whole, of its own type, once; the page says what has arrived and its SHA-256."""
    url = gateway.upload("in/scan.png")
    data = bytes(range(256)) * 2000
    answer = send(url, form(data))
    assert (answer.status, answer.header("content-type")) == (200, "text/html; charset=utf-8")
    assert gateway.stands(url) == data
    assert hashlib.sha256(data).hexdigest() in answer.text
    again = send(url, form(b"other"))
    assert (again.status, gateway.stands(url)) == (403, data)
    record = gateway.record(url)
    assert record is not None
    assert record.uses == 1


@pytest.mark.parametrize("data", [b"", b"x", b"\r\n", f"\r\n--{BOUNDARY[:-1]}".encode(), b"\r\n--" * 5000])
def test_bytes_that_look_like_a_boundary_are_data(gateway: Home, data: bytes) -> None:
    """The boundary is looked for in a stream: what only begins like it belongs to the file."""
    url = gateway.upload()
    assert send(url, form(data)).status == 200
    assert gateway.stands(url) == data


@pytest.mark.parametrize(
    "body",
    [
        b"", b"nothing", form(b"x")[:-20], form(b"x", after=b"more"), form(b"x") + form(b"y"), form(b"x", name=""),
        f"--{BOUNDARY}\r\n".encode() + b"a" * 10_000,
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n--{BOUNDARY}--\r\n'.encode(),
    ],
)  # fmt: skip
def test_a_form_that_is_none_stores_nothing(gateway: Home, body: bytes) -> None:
    """Cut, with two files, or without one: refused, and the use is free again."""
    url = gateway.upload()
    assert send(url, body).status == 400
    assert gateway.stands(url) is None
    assert send(url, form(b"good")).status == 200


def test_a_form_keeps_to_the_limits_of_its_link(gateway: Home) -> None:
    """Size and type are those of the file, not of the form around it."""
    url = gateway.upload(max_bytes=10, media_type="image/*")
    assert send(url, form(b"x" * 11)).status == 413
    assert send(url, form(b"x", media_type="text/html")).status == 415
    assert send(url, form(b"x" * 10)).status == 200


def test_a_form_of_another_site_is_refused(gateway: Home) -> None:
    """A page elsewhere must not send a file for its reader."""
    url = gateway.upload()
    assert send(url, form(b"x"), {"Sec-Fetch-Site": "cross-site"}).status == 403
    assert gateway.stands(url) is None


def test_a_form_does_nothing_to_a_download_link(gateway: Home) -> None:
    """Its button sends nothing, so whatever sends a file is none."""
    url = gateway.fresh(b"object")
    assert send(url, form(b"x")).status == 403
    assert gateway.stands(url) == b"object"


def test_the_page_of_a_link_that_takes_nothing_is_no_drop_zone(gateway: Home) -> None:
    """Used, revoked, ended, or an object stands: the page of that state, with its status."""
    used, revoked, ended, ended_folder, stands = (
        gateway.upload(),
        gateway.upload(),
        gateway.upload(expires_in_s=-5),
        gateway.upload("inbox/", uses=3, expires_in_s=-5),
        gateway.upload("in/a"),
    )
    assert ask("PUT", used, body=b"x").status == 200
    gateway.change_record(revoked, revoke)
    gateway.put("in/a", b"before")
    for url, status, words in (
        (used, 403, "Everything has arrived"),
        (revoked, 403, "This link was taken back"),
        (ended, 403, "This link has ended"),
        (ended_folder, 403, "It was open until"),
        (stands, 412, "A file is already here"),
    ):
        page = ask("GET", url, NAVIGATION)
        assert (page.status, words in page.text, 'class="zone"' in page.text) == (status, True, False)
        key = url.partition("?")[0].rpartition("/")[2] or "_"
        assert f"<bdi>{key}" not in page.text, "the name that it gets here is not its sender's"
    assert gateway.record(stands) is None


def test_a_note_of_the_issuer_is_the_title(gateway: Home) -> None:
    """What is to be sent is theirs to say; where it is kept is not the reader's concern."""
    page = ask("GET", gateway.upload("in/secret-name.bin", note="Your scans"), NAVIGATION)
    assert "Your scans</h1>" in page.text
    assert "secret-name" not in page.text


def test_a_put_answers_with_a_digest_where_one_is_asked_for(gateway: Home) -> None:
    """RFC 9530: what was stored, for the receipt; and no header that S3 does not send where nobody asks."""
    answer = ask("PUT", gateway.upload(), {"Want-Repr-Digest": "sha-256=1"}, body=b"hello")
    digest = base64.b64encode(hashlib.sha256(b"hello").digest()).decode()
    assert answer.header("repr-digest") == f"sha-256=:{digest}:"
    assert ask("PUT", gateway.upload(), body=b"hello").header("repr-digest") is None
    assert ask("PUT", gateway.upload(), {"Want-Repr-Digest": "sha-256=0"}, body=b"x").header("repr-digest") is None


def folder_link(gateway: Home, **wish: object) -> str:
    """A link through which files can be sent beneath a folder of its own."""
    return gateway.link(f"box{secrets.token_hex(4)}/", operation=Operation.PUT, **wish)


def beneath(url: str, name: str) -> str:
    """The address of a PUT through such a link."""
    path, _, query = url.partition("?")
    return f"{path}{name}?{query}"


def test_a_link_to_many_keys_shows_the_page_and_takes_each_file_once(gateway: Home) -> None:
    """GET of the folder is the page; PUT goes beneath it, each file a use, none over another; all else is 403."""
    url = folder_link(gateway, uses=3)
    page = ask("GET", url, NAVIGATION)
    assert (page.status, 'class="zone"' in page.text, " multiple" in page.text) == (200, True, True)
    assert gateway.record(url) is None
    assert ask("PUT", beneath(url, "a.txt"), body=b"a").status == 200
    assert ask("PUT", beneath(url, "a.txt"), body=b"other").status == 412
    assert "This link takes 2 more files. Looking at this page does not use it." in ask("GET", url, NAVIGATION).text
    assert ask("PUT", beneath(url, "b.txt"), body=b"b").status == 200
    assert ask("PUT", beneath(url, "c.txt"), body=b"c").status == 200
    assert ask("PUT", beneath(url, "d.txt"), body=b"d").status == 403
    used = ask("GET", url, NAVIGATION)
    assert (used.status, "Everything has arrived" in used.text) == (403, True)
    assert gateway.stands(beneath(url, "a.txt")) == b"a"


@pytest.mark.parametrize(
    ("method", "name", "headers"),
    [("PUT", "", {}), ("GET", "a.txt", {}), ("GET", "", {}), ("HEAD", "", {}), ("POST", "", {}), ("PUT", "a/../b", {})],
)
def test_everything_else_on_such_a_link_is_refused(
    gateway: Home, method: str, name: str, headers: dict[str, str]
) -> None:
    """It is for sending: nothing can be read, listed or replaced by it, and no object is called as its folder."""
    url = folder_link(gateway)
    before = ask("PUT", beneath(folder_link(gateway), "a.txt"), body=b"x")
    assert before.status == 200
    assert ask(method, beneath(url, name), headers, body=b"x" if method == "PUT" else b"").status == 403
    assert gateway.record(url) is None


def test_forms_number_files_of_one_name(gateway: Home) -> None:
    """Pasted pictures are all called image.png; a name that leads out of the folder is made safe."""
    url = folder_link(gateway, uses=3)
    for data, name in ((b"1", "image.png"), (b"2", "image.png"), (b"3", "../../out.png")):
        assert send(url, form(data, name)).status == 200
    assert gateway.stands(beneath(url, "image.png")) == b"1"
    assert gateway.stands(beneath(url, "image (2).png")) == b"2"
    assert gateway.stands(beneath(url, "_.._out.png")) == b"3"
    assert send(url, form(b"4")).status == 403


def test_a_link_to_one_key_has_no_folder(gateway: Home) -> None:
    """A slash behind its key is another address, which nobody signed."""
    url = gateway.upload("in/one")
    assert ask("GET", beneath(url, "/"), NAVIGATION).status == 403
