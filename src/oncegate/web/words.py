"""What pages say in each state of a link: one sentence for people for every reason that a request is refused for.

Texts are in English and marked by ``mark`` for the catalogues; they are translated where a page is rendered. They name
no machine: no claim, key, object, status. ``%(when)s`` is a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from oncegate.links.refusal import Reason

Tone = Literal["calm", "wait", "good", "bad"]
Action = Literal["", "again", "ask"]


def mark(text: str) -> str:
    """Mark a text for the catalogues without translating it now."""
    return text


class State(NamedTuple):
    """How a page says a state.

    Attributes:
        icon: of ``parts.html``.
        tone: of the icon's disc; ``bad`` only where the reader's own file was refused.
        headline: without a full stop, at most two lines on a phone.
        text: what it means.
        timeless: the same where no time is known; empty where the text has none.
        todo: what to do now.
        action: ``again`` asks for the page again, ``ask`` copies a request for a new link.
        waits_s: after so many seconds the page asks again by itself.
    """

    icon: str
    tone: Tone
    headline: str
    text: str
    timeless: str = ""
    todo: str = ""
    action: Action = ""
    waits_s: int = 0


_ASK = mark("If you still need it, ask whoever sent you this link for a new one.")
_UNUSED = mark("The link is not used up.")
_UNUSED_TELL = mark("It is not used up. Please tell whoever sent it to you.")
_TELL = mark("Please tell whoever sent you this link.")

STATES: Mapping[str, State] = {
    "used": State(
        "tick", "calm", mark("This file was already opened"), mark("That was on %(when)s. The link worked once."),
        mark("The link worked once."), mark("If that was not you, tell the sender."), "ask",
    ),
    "used-up": State(
        "tick", "calm", mark("This link is used up"), mark("It was last opened on %(when)s."),
        mark("It was opened as often as it could be."), _ASK, "ask",
    ),
    "received": State(
        "tick", "good", mark("Everything has arrived"),
        mark("The last file came on %(when)s. Nothing more can be sent through this link."),
        mark("Nothing more can be sent through this link."),
    ),
    "revoked": State(
        "back", "calm", mark("The sender took this link back"), mark("It can no longer be opened."), "", _ASK, "ask"
    ),
    "taken-back": State(
        "back", "calm", mark("This link was taken back"), mark("Nothing more can be sent through this link."), "", _ASK,
        "ask",
    ),
    "expired": State(
        "clock", "calm", mark("This link has ended"), mark("It was open until %(when)s."),
        mark("It can no longer be opened."), _ASK, "ask",
    ),
    "not-yet": State(
        "clock", "wait", mark("This link is not open yet"), mark("It opens on %(when)s."), mark("It opens later."),
        mark("You may leave this page open: it goes on by itself."), "again",
    ),
    "network": State(
        "net", "calm", mark("This link works in another network"),
        mark("It was made for one network only, such as an office or a VPN."), "",
        mark("Connect there and open the link again. It is not used up."), "again",
    ),
    "incomplete": State(
        "cut", "calm", mark("This link is incomplete"), mark("Mail and chat programs sometimes cut long links in two."),
        "", mark("Copy the whole address, up to its very end, and open it again."),
    ),
    "other": State(
        "cut", "calm", mark("This link is for something else"), mark("It does not allow what was tried."), "",
        mark("Open it just as it was sent to you."),
    ),
    "not-here": State(
        "cut", "calm", mark("This link cannot be opened here"),
        mark("It asks for something that is not done at this address."), "", _UNUSED_TELL,
    ),
    "missing": State(
        "file", "calm", mark("The file is not there yet, or no more"), _UNUSED, "", "", "again"
    ),
    "replaced": State(
        "file", "calm", mark("The file has been replaced"),
        mark("Your download began with an older version, and the rest of that one is gone."), "", _ASK, "ask",
    ),
    "root": State(
        "cut", "calm", mark("Links are opened here, nothing else"),
        mark("If someone sent you a link, open all of it: it is longer than this address."),
    ),
    "busy": State(
        "clock", "wait", mark("One moment"),
        mark("This link is in use right now, perhaps in another tab. The page asks again by itself."), "", _UNUSED,
        "again", 5,
    ),
    "trouble": State(
        "clock", "wait", mark("One moment"),
        mark("This takes longer than it should, and it is not your fault. The page asks again by itself."), "", _UNUSED,
        "again", 10,
    ),
    "elsewhere": State(
        "cut", "calm", mark("Press the button here"),
        mark("Another website pressed it for you. Nothing was downloaded."), "", _UNUSED, "again",
    ),
    "person": State(
        "cut", "calm", mark("Open this link in a browser"), mark("Someone has to press a button there before it opens."),
        "", _UNUSED, "again",
    ),
    "stands": State(
        "file", "calm", mark("A file is already here"),
        mark("This link may not replace it, so nothing can be sent."), "",
        mark("If yours is newer, tell whoever sent you this link."),
    ),
    "running": State(
        "clock", "wait", mark("A file is being sent right now"),
        mark("Someone, perhaps you in another tab, is using this link. The page asks again by itself."), "", _UNUSED,
        "again", 5,
    ),
    "too-large": State(
        "bad", "bad", mark("This file is too large"), mark("The page where you send it names the largest size."), "",
        _UNUSED, "again",
    ),
    "wrong-type": State(
        "bad", "bad", mark("This kind of file is not taken here"),
        mark("The page where you send it names the kinds that are."), "", _UNUSED, "again",
    ),
    "full": State("bad", "bad", mark("There is no room for this file"), _TELL, "", _UNUSED, "again"),
    "damaged": State(
        "bad", "bad", mark("The file did not arrive whole"), mark("What arrived was thrown away."), "", _UNUSED, "again"
    ),
    "cannot": State("bad", "bad", mark("Files cannot be taken here"), _TELL, "", _UNUSED),
}  # fmt: skip


def _all(state: str, *reasons: Reason) -> dict[Reason, str]:
    return dict.fromkeys(reasons, state)


STATE_OF: Mapping[Reason, str] = {
    **_all(
        "incomplete",
        Reason.MISSING_KEY, Reason.UNKNOWN_KEY, Reason.MALFORMED_POLICY, Reason.MALFORMED_EXPIRES,
        Reason.MISSING_SIGNATURE, Reason.MALFORMED_SIGNATURE, Reason.UNSUPPORTED_HASH, Reason.DUPLICATE_PARAMETER,
        Reason.TWO_SCHEMES, Reason.BAD_SIGNATURE, Reason.RESOURCE_MISMATCH, Reason.S3_SIGNATURE_V2, Reason.S3_TWO_AUTH,
        Reason.S3_QUERY_PARAMETERS, Reason.S3_WRONG_REGION, Reason.S3_ALGORITHM, Reason.S3_UNKNOWN_KEY,
        Reason.S3_BAD_SIGNATURE, Reason.UNSIGNED_PARAMETER, Reason.MALFORMED_LIMIT, Reason.MALFORMED_TICKET,
        Reason.OBJECT_KEY, Reason.MALFORMED_REQUEST, Reason.TARGET_TOO_LONG, Reason.HEAD_TOO_LARGE,
    ),
    **_all(
        "other", Reason.S3_UNSIGNED_HEADER, Reason.METHOD_NOT_GRANTED, Reason.METADATA_TOO_LARGE, Reason.PRESIGNED_ONLY
    ),
    **_all(
        "not-here", Reason.S3_UNSUPPORTED, Reason.WRONG_HOME, Reason.NOT_AT_THE_EDGE, Reason.NOT_IMPLEMENTED,
        Reason.NOT_OBEYED,
    ),
    **_all(
        "expired", Reason.EXPIRED, Reason.S3_EXPIRED, Reason.FORGOTTEN, Reason.PLAIN_REFUSED, Reason.BEFORE_BIRTH
    ),
    **_all("not-yet", Reason.NOT_YET_VALID, Reason.S3_NOT_YET_VALID, Reason.TICKET_AHEAD),
    **_all("network", Reason.IP_NOT_ALLOWED),
    **_all("used", Reason.USED),
    **_all("revoked", Reason.REVOKED),
    **_all("person", Reason.CONFIRM_NEEDED),
    **_all("replaced", Reason.OBJECT_REPLACED),
    **_all("busy", Reason.BUSY),
    **_all(
        "trouble", Reason.LEDGER_UNKNOWN, Reason.STORE_FAILED, Reason.STORE_BUSY, Reason.OVERLOADED, Reason.INTERNAL
    ),
    **_all("missing", Reason.NO_OBJECT, Reason.PRECONDITION, Reason.RANGE),
    **_all("stands", Reason.OBJECT_STANDS),
    **_all("full", Reason.STORE_FULL),
    **_all("cannot", Reason.NOT_ONCE),
    **_all("running", Reason.UPLOAD_RUNNING),
    **_all("too-large", Reason.TOO_LARGE),
    **_all("wrong-type", Reason.WRONG_TYPE),
    **_all("damaged", Reason.LENGTH_NEEDED, Reason.BAD_DIGEST, Reason.INCOMPLETE, Reason.MALFORMED_UPLOAD),
    **_all("root", Reason.NOT_A_LINK),
    **_all("elsewhere", Reason.CROSS_SITE),
}  # fmt: skip
"""The state that a refused request is told in."""


def _endings(endings: str, words: str) -> dict[str, str]:
    return dict.fromkeys(endings.split(), words)


TYPES: Mapping[str, str] = {
    **_endings("pdf", mark("PDF document")),
    **_endings("doc docx odt rtf", mark("Text document")),
    **_endings("xls xlsx ods csv", mark("Spreadsheet")),
    **_endings("ppt pptx odp", mark("Presentation")),
    **_endings("png jpg jpeg gif webp avif heic bmp svg tif tiff", mark("Image")),
    **_endings("mp4 mov webm mkv avi m4v", mark("Video")),
    **_endings("mp3 wav flac ogg m4a opus aac", mark("Audio")),
    **_endings("zip gz 7z tar rar xz bz2 zst tgz", mark("Archive")),
    **_endings("txt md log", mark("Text")),
    **_endings("json xml yaml yml toml sql", mark("Data")),
    **_endings("exe msi bat cmd com scr ps1 vbs lnk js jar sh apk dmg pkg app deb rpm", mark("Program")),
}
"""What a file is, by its ending."""

PROGRAMS = frozenset(ending for ending, words in TYPES.items() if words == "Program")
