"""What the page says where files are sent, and what its script says while it sends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from oncegate.web.languages import Language
from oncegate.web.names import plain_text
from oncegate.web.words import mark

TITLE_MAX = 80
"""A note of at most so many characters is the page's headline."""

SCRIPT_WORDS: Mapping[str, str] = {
    "waiting": mark("Waiting"),
    "part": mark("{sent} of {size}"),
    "left": mark("{time} left"),
    "storing": mark("Being stored"),
    "paused": mark("Waiting for the network. It goes on by itself."),
    "arrived": mark("Arrived on {when}"),
    "cancelled": mark("Cancelled. Nothing was kept."),
    "late": mark("Cancelled, but it may have arrived already."),
    "cancel": mark("Cancel {name}"),
    "retry": mark("Try {name} again"),
    "progress": mark("Progress of {name}"),
    "spoken": mark("{percent} sent"),
    "sending": mark("Sending"),
    "offline": mark("Waiting for the network"),
    "closed": mark("This link takes nothing more"),
    "refused": mark("Nothing was sent"),
    "keep": mark("Keep this page open until everything has arrived."),
    "receipt": mark("{name} ({size}) arrived on {when}. SHA-256 {sum}"),
    "short": mark("{name} ({size}) arrived on {when}."),
    "folder": mark("Folders cannot be sent. Pack it into a ZIP file first."),
    "many": mark("This was one file too many."),
    "twice": mark("This file is in the list already."),
    "large": mark("Too large: at most {max}."),
    "type": mark("This kind of file is not taken here."),
    "403": mark("The link takes nothing more."),
    "412": mark("A file is here already, and it may not be replaced."),
    "413": mark("This file is too large."),
    "415": mark("This kind of file is not taken here."),
    "507": mark("There is no room for this file. Please tell whoever sent you this link."),
    "other": mark("It could not be sent. Try again, or tell whoever sent you this link."),
}


class Upload(NamedTuple):
    """What the page where files are sent says.

    Attributes:
        uses_left: files that the link still takes.
        expires_s: when it ends, seconds since 1970 UTC.
        is_many: each file goes to a key of its own.
        max_bytes: of one file.
        media_type: that is taken; empty: any.
        sender: who asks for the file.
        note: what they say.
    """

    uses_left: int
    expires_s: int
    is_many: bool
    max_bytes: int | None
    media_type: str
    sender: str | None
    note: str | None


def upload_values(upload: Upload, issuer: str, reader: Language) -> dict[str, object]:
    """The values of ``upload.html``."""
    note = plain_text(upload.note or "")
    is_title = 0 < len(note) <= TITLE_MAX
    title = note if is_title else reader.say("Send a file to %(issuer)s") % {"issuer": issuer}
    return {
        **upload._asdict(),
        "sender": plain_text(upload.sender or ""),
        "title": title,
        "note": "" if is_title else note,
        "limits": _limits(upload, reader),
        "set": {
            "left": upload.uses_left,
            "max": upload.max_bytes,
            "type": upload.media_type,
            "many": upload.is_many,
            "title": title,
            "words": _script_words(reader),
        },
    }


def _limits(upload: Upload, reader: Language) -> list[str]:
    kinds = {"image/*": mark("Images"), "video/*": mark("Videos"), "audio/*": mark("Audio"), "text/*": mark("Text")}
    kind = upload.media_type
    words = reader.say(kinds[kind]) if kind in kinds else kind.rpartition("/")[2].upper()
    limits = [words if kind else reader.say(mark("Any kind of file"))]
    if upload.max_bytes is not None:
        limits.append(reader.say(mark("at most %(size)s")) % {"size": reader.size(upload.max_bytes)})
    return limits


def _script_words(reader: Language) -> dict[str, object]:
    said: dict[str, object] = {name: reader.say(text) for name, text in SCRIPT_WORDS.items()}
    said["done"] = reader.plurals("The file has arrived", "%(num)s files have arrived")
    said["takes"] = reader.plurals(
        "This link takes one file. Looking at this page does not use it.",
        "This link takes %(num)s more files. Looking at this page does not use it.",
    )
    return said
