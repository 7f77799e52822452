"""Pages with made-up links, for tests and for tools/gallery.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from oncegate.links.refusal import Reason
from oncegate.links.request import ViewerRequest
from oncegate.settings import Settings
from oncegate.settings.tables import PagesSettings
from oncegate.web.answers import Answer
from oncegate.web.names import shown_file
from oncegate.web.pages import Broken, Pages, Ready, Refusal, Uploaded
from oncegate.web.uploading import Upload
from oncegate.web.words import STATE_OF, STATES

NOW_S = 1_795_824_180
NOTE = "Here is the report that we spoke about. The figures of the last quarter are on page 12."
LONG = (
    "Minutes of the meeting about the renewal of the framework agreement for maintenance and repair of the buildings "
    "in the northern district, second revision, with comments (final) v2.docx"
)
WANTED = "The pictures of the site visit on Tuesday, please, in full size: they go into the report to the insurer."
NAMES = {
    "long": LONG,
    "unbroken": "a" * 230 + ".tar.gz",
    "rtl": "التقرير السنوي 2026 - نسخة نهائية.pdf",
    "cjk": "二〇二六年度第三四半期事業報告書および監査意見書（最終版・社外秘）改訂第二版.xlsx",  # noqa: RUF001  as it is written
    "attack": "photo_evil\u202egpj.exe",
    "markup": "\u2067\u202dinvoice\u2066fdp.scr\u2069\x07<b>.pdf.exe",
    "program": "invoice.pdf.exe",
}
ALIKE = {"taken-back": "revoked"}
"""States of uploads that are told for the same reasons as others."""
EVIL = "<script>alert(1)</script>\"'&\u202e https://example.com " + "x" * 100


def request_of(
    *, language: str = "en", gzip: bool = False, query: bytes = b"once=secret&Signature=secret"
) -> ViewerRequest:
    """A navigation to a link."""
    headers = [(b"accept", b"text/html"), (b"accept-language", language.encode())]
    if gzip:
        headers.append((b"accept-encoding", b"gzip, br"))
    return ViewerRequest(
        method="GET", scheme="https", host="files.example.com", path=b"/report.pdf", query=query, headers=tuple(headers)
    )


def pages_of(**settings: str) -> Pages:
    """Pages of an issuer."""
    return Pages(Settings(pages=PagesSettings(**settings)))  # type: ignore[arg-type]  # literals


def ready_of(name: str = "Annual report 2026.pdf", size_bytes: int = 2_400_000, **more: object) -> Ready:
    """A file that can be downloaded."""
    ready = Ready(shown_file(name, size_bytes=size_bytes), "download", 1, NOW_S + 180_000, 900, "Example GmbH", NOTE)
    return ready._replace(**more)


def states(pages: Pages, request: ViewerRequest) -> Iterator[tuple[str, Answer]]:
    """Every page in every state, by its name in the gallery."""
    pdf, film = (
        shown_file("Annual report 2026.pdf", size_bytes=2_400_000),
        shown_file("walk.mp4", size_bytes=184_000_000),
    )
    backup = shown_file("backup-2026-11.tar.gz", size_bytes=200_000_000)

    def ready(**more: object) -> Answer:
        return pages.ready(request, ready_of(**more), status=200)  # type: ignore[arg-type]  # sample values

    yield "ready", ready()
    yield "ready-plain", ready(name="letter.txt", size_bytes=14, sender=None, note=None)
    yield "ready-view", ready(name="plan.png", size_bytes=820_000, action="view", note=None)
    yield "ready-play", ready(file=film, action="play", note=None)
    yield "ready-uses", ready(uses_left=3, note=None)
    yield "ready-cookies", ready(needs_cookies=True, note=None)
    yield "ready-evil", ready(sender=EVIL[:100], note=EVIL)
    for kind, name in NAMES.items():
        yield f"name-{kind}", ready(name=name, note=None)
    yield "started", pages.started(request, pdf, 900)
    yield (
        "broken",
        pages.broken(
            request, Broken(backup, 58_000_000, NOW_S + 600, has_rest=True, may_start_again=False), request_id="kKZc-2"
        ),
    )
    yield (
        "broken-again",
        pages.broken(
            request, Broken(backup, 1_200_000, NOW_S + 600, has_rest=True, may_start_again=True), request_id="k-2"
        ),
    )
    doubt = Broken(pdf, 2_400_000, NOW_S + 600, has_rest=False, may_start_again=True)
    yield "broken-doubt", pages.broken(request, doubt, request_id="k-2")
    yield (
        "player-audio",
        pages.player(request, shown_file("talk.mp3", size_bytes=18_000_000), element="audio", status=200),
    )
    yield "player-video", pages.player(request, film, element="video", status=200)
    upload = Upload(
        5, NOW_S + 260_000, is_many=True, max_bytes=200_000_000, media_type="image/*", sender="Ada", note=WANTED
    )
    yield "upload", pages.upload(request, upload)
    one = Upload(
        1,
        NOW_S + 260_000,
        is_many=False,
        max_bytes=None,
        media_type="",
        sender=None,
        note="Photos for the November newsletter",
    )
    yield "upload-title", pages.upload(request, one)
    yield (
        "uploaded",
        pages.uploaded(request, Uploaded(shown_file("scan.png", size_bytes=20_000_000), NOW_S, "3f2a9c01" * 8, 0)),
    )
    yield "uploaded-more", pages.uploaded(request, Uploaded(pdf, NOW_S, "3f2a9c01" * 8, 4))
    for state in STATES:
        reason = next((reason for reason, name in STATE_OF.items() if name == ALIKE.get(state, state)), Reason.USED)
        at_s = NOW_S + 43_200 if state == "not-yet" else NOW_S
        named = pdf if state in ("used", "used-up", "revoked", "expired", "not-yet", "replaced") else None
        said = Refusal(
            reason, "kKZc-2", at_s, named, is_upload=state in ("received", "taken-back"), uses=3 if state == "used-up" else 1
        )  # fmt: skip
        asked = replace(request, query=b"") if state == "root" else request
        yield f"state-{state}", pages.refusal(asked, said, status=403)
