"""How the end of an upload's body is known: by a length, by chunks, or by the frames of HTTP/2 in an embedding server."""

from __future__ import annotations

from typing import Any

import pytest

from oncegate.gateway.call import head_of
from oncegate.gateway.viewer import Viewers
from oncegate.links.grant import NO_LIMITS
from oncegate.links.refusal import Reason, Refused
from oncegate.links.upload_head import read_upload_head
from oncegate.settings.tables import ViewerSettings


def scope(version: str, method: str = "PUT", *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    """A request as an ASGI server hands it on."""
    return {
        "type": "http",
        "http_version": version,
        "method": method,
        "raw_path": b"/k",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8080"), *headers],
        "client": ("127.0.0.1", 1),
    }


@pytest.mark.parametrize(
    ("version", "header", "is_taken"),
    [
        ("1.1", None, False),
        ("1.1", (b"transfer-encoding", b"chunked"), True),
        ("1.1", (b"content-length", b"1"), True),
        ("2", None, True),
        ("3", None, True),
        ("2", (b"content-length", b"1"), True),
    ],
)
def test_an_upload_whose_frames_say_where_it_ends_needs_no_length(
    version: str, header: tuple[bytes, bytes] | None, is_taken: bool
) -> None:
    """HTTP/2 has no chunks: without this, each upload of unknown length would be 411 in an embedded gateway."""
    request = Viewers(ViewerSettings()).request_of(head_of(scope(version, "PUT", *([header] if header else []))), None)
    try:
        read_upload_head(request, NO_LIMITS, key="k", max_bytes=10)
    except Refused as refused:
        assert (refused.reason, is_taken) == (Reason.LENGTH_NEEDED, False)
    else:
        assert is_taken


def test_only_an_upload_gets_a_framing_that_it_did_not_send() -> None:
    """The button's POST would otherwise seem to have a body, and be refused."""
    request = Viewers(ViewerSettings()).request_of(head_of(scope("2", "POST")), None)
    assert request.header(b"transfer-encoding") is None
