"""Names of files and texts of senders as a page may show them: hidden signs are seen, the middle is cut, the ending kept.

Nothing here escapes HTML: the templates do. ``static/upload.js`` shows names of files that are still with their reader
by the same rules; tests/web holds both to the same answers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from email.message import Message
from typing import Literal, NamedTuple
from urllib.parse import unquote

from oncegate.web.words import PROGRAMS, TYPES, mark

COLUMNS_MAX = 56
ENDING_MAX = 8
# marks that turn the direction of what follows, and others that nobody sees
_HIDDEN = frozenset(
    "\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)
# RFC 6266 4.3: who understands filename* prefers it
_EXTENDED = re.compile(r"filename\*\s*=\s*utf-8'[^';]*'([^;\s]+)", re.IGNORECASE)
_KINDS = {"image": mark("Image"), "video": mark("Video"), "audio": mark("Audio"), "text": mark("Text")}

Kind = Literal["", "sign", "end"]


class Piece(NamedTuple):
    """A part of a name.

    Attributes:
        text: to be shown; of a hidden sign its code point, ``U+202E``.
        kind: ``sign`` for a hidden sign, ``end`` for the ending, which never breaks over two lines.
    """

    text: str
    kind: Kind = ""


class Name(NamedTuple):
    """A file's name, ready to be shown.

    Attributes:
        pieces: in order; the middle is cut where the name is long.
        whole: the same of the whole name where it was cut, else nothing.
        ending: lower case, without its dot; empty where it has none.
        is_disguised: it holds hidden signs.
        is_program: by its ending it is a program.
    """

    pieces: tuple[Piece, ...]
    whole: tuple[Piece, ...]
    ending: str
    is_disguised: bool
    is_program: bool

    @property
    def text(self) -> str:
        """The name as plain text, hidden signs as code points in brackets."""
        return "".join(f"[{piece.text}]" if piece.kind == "sign" else piece.text for piece in self.pieces)


class Shown(NamedTuple):
    """What a page says of a file.

    Attributes:
        name: of the file.
        tag: at most four letters, for the little page beside the name.
        kind: in words, to be translated; empty: nothing is known.
        size_bytes: None: not known.
    """

    name: Name
    tag: str
    kind: str
    size_bytes: int | None = None


def shown_file(name: str, *, media_type: str = "", size_bytes: int | None = None) -> Shown:
    """Say what a file is: by its ending, else by its media type."""
    readable = readable_name(name)
    kind = TYPES.get(readable.ending) or _KINDS.get(media_type.partition("/")[0]) or mark("File")
    tag = readable.ending.upper() if len(readable.ending) <= 4 else ""
    return Shown(readable, tag, kind, size_bytes)


def signed_name(key: str, disposition: str | None) -> str:
    """The name that a browser saves the object under: the signed one, else what follows the last slash of its key."""
    own = key.rpartition("/")[2]
    if disposition is None:
        return own
    extended = _EXTENDED.search(disposition)
    if extended:
        return _last_segment(unquote(extended[1], errors="replace")) or own
    message = Message()
    message["content-disposition"] = disposition
    return _last_segment(message.get_filename() or "") or own


def _last_segment(name: str) -> str:
    """A browser saves no folders, so a page shows none either."""
    return name.replace("\\", "/").rpartition("/")[2]


def readable_name(name: str) -> Name:
    """Read a name for showing."""
    stem, _, last = name.rpartition(".")
    ending = last.lower() if stem and len(last) <= ENDING_MAX and last.isascii() and last.isalnum() else ""
    short = _cut(name)
    return Name(
        pieces=tuple(_pieces(short, ending)),
        whole=tuple(_pieces(name, ending)) if short != name else (),
        ending=ending,
        is_disguised=any(map(is_hidden, name)),
        is_program=ending in PROGRAMS,
    )


def is_hidden(character: str) -> bool:
    """Whether nobody sees a character, or it turns the direction of others."""
    return character in _HIDDEN or unicodedata.category(character) in ("Cc", "Cs")


def plain_text(text: str) -> str:
    """A text of a sender without signs that nobody sees."""
    return "".join(character for character in text if not is_hidden(character))


def _columns(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def _cut(name: str) -> str:
    if _columns(name) <= COLUMNS_MAX:
        return name
    head = tail = ""
    for character in name:
        if _columns(head + character) > COLUMNS_MAX * 2 // 3:
            break
        head += character
    for character in reversed(name):
        if _columns(character + tail) > COLUMNS_MAX - _columns(head) - 1:
            break
        tail = character + tail
    # an accent whose letter was cut off would sit on the dots
    while tail and unicodedata.combining(tail[0]):
        tail = tail[1:]
    return f"{head.rstrip()}…{tail.lstrip()}"


def _pieces(name: str, ending: str) -> Iterator[Piece]:
    stem = len(name) - len(ending) - 1 if ending else len(name)
    run = ""
    for character in name[:stem]:
        if not is_hidden(character):
            run += character
            continue
        if run:
            yield Piece(run)
        run = ""
        yield Piece(f"U+{ord(character):04X}", "sign")
    if run:
        yield Piece(run)
    if ending:
        yield Piece(name[stem:], "end")
