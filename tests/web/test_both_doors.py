"""The gateway's pages and the edge's say the same facts of a link, and the script shows names as the gateway does."""

from __future__ import annotations

import html
import pathlib
import re

from oncegate.web.names import is_hidden
from oncegate.web.pages import asset
from oncegate.web.plain import confirm_page, said_by, upload_page
from oncegate.web.uploading import Upload
from page_samples import NOW_S, pages_of, ready_of, request_of

SCRIPT = pathlib.Path(__file__).parents[2] / "src/oncegate/web/static/upload.js"


def seen(page: bytes) -> str:
    """What a reader reads."""
    bare = re.sub(r"<(style|script)\b.*?</\1>", "", page.decode(), flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", "", bare))


def test_both_pages_with_the_button_say_the_same_facts() -> None:
    """Where a link is served must not change what its reader is told: name, size, sender, note, and that it opens once."""
    ours = pages_of().ready(request_of(), ready_of(sender="Ada", note="As promised"), status=200).body
    edge = confirm_page(
        name="Annual report 2026.pdf", size_bytes=2_400_000, uses_left=1, needs_cookies=False,
        said=said_by("Ada", "As promised"),
    ).body  # fmt: skip
    for fact in (
        "Annual report 2026.pdf",
        "2.4 MB",
        "Ada",
        "As promised",
        "once",
        "Looking at this page does not use it.",
    ):
        assert fact in seen(ours), fact
        assert fact in seen(edge), fact


def test_both_pages_where_files_are_sent_say_the_same_facts() -> None:
    """Size and kind that are taken, sender and note, and that the link takes one file."""
    upload = Upload(1, NOW_S, is_many=False, max_bytes=5_000_000, media_type="image/*", sender="Ada", note="x" * 100)
    ours = pages_of().upload(request_of(), upload).body
    edge = upload_page(name="a", max_bytes=5_000_000, media_type="image/*", said=said_by("Ada", "x" * 100)).body
    for fact in ("at most 5 MB", "Ada", "x" * 100, "This link takes one file. Looking at this page does not use it."):
        assert fact in seen(ours), fact
        assert fact in seen(edge), fact
    for page in (ours, edge):
        assert b'accept="image/*"' in page


def test_the_script_hides_no_sign_that_the_gateway_shows() -> None:
    """Names of files that people send are shown by the script before the gateway sees them: one rule, written twice."""
    written = re.search(r"const HIDDEN = /\[(.*)\]/u;", SCRIPT.read_text())
    assert written is not None
    signs = re.compile(
        "[" + written[1].replace(r"\p{Cc}", r"\x00-\x1f\x7f-\x9f").replace(r"\p{Cs}", r"\ud800-\udfff") + "]"
    )
    for code in range(0x10000):
        assert (signs.match(chr(code)) is not None) == is_hidden(chr(code)), hex(code)
    assert "HIDDEN" in asset("upload.js")
