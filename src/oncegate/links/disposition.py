"""Content-Disposition: written when a link is made and when an object is served."""

from __future__ import annotations

import binascii
import re
from functools import partial
from urllib.parse import quote, unquote

from oncegate.links.urls import escape

# Types that a browser can show without running anything of the object's own on our origin.
SAFE_INLINE = frozenset(
    ("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "text/plain", "application/pdf")
)
PLAYED_KINDS = ("audio/", "video/")

_NAME = re.compile(r';[ \t]*filename[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;" \t][^;]*))', re.IGNORECASE)
_STAR = re.compile(r";[ \t]*filename\*[ \t]*=", re.IGNORECASE)
_EXACT = re.compile(r";[ \t]*filename-utf8[ \t]*=[ \t]*([A-Za-z0-9%._-]+)", re.IGNORECASE)
_SURVIVES = re.compile(r"[A-Za-z0-9._ -]+")
_NOT_SURVIVING = re.compile(r"[^A-Za-z0-9._ -]")
# all but printable ASCII, and of that " % and \
_NOT_QUOTABLE = re.compile(r"[^ !#$&-\[\]-~]")
_ESCAPED = re.compile(r"\\(.)")
_BETWEEN_WORDS = re.compile(r"(?<=\?=)[ \t]+(?==\?)")
_WORD = re.compile(r"=\?([^?\s]+)\?([bqBQ])\?([^?]*)\?=")


def content_disposition(kind: str, filename: str | None) -> str:
    """Write a Content-Disposition that every browser reads: RFC 6266, and RFC 8187 where the name is not plain ASCII.

    Args:
        kind: ``attachment`` or ``inline``.
        filename: decoded; control characters must not be in it.
    """
    if not filename:
        return kind
    # RFC 6266 D: some readers take a % in the quoted form for an escape; those that know filename* read that instead
    plain = _NOT_QUOTABLE.sub("_", filename)
    quoted = f'{kind}; filename="{plain}"'
    # browsers decode the words of RFC 2047 in a quoted name; filename* goes before it
    return (
        quoted if plain == filename and not _WORD.search(filename) else f"{quoted}; filename*=UTF-8''{escape(filename)}"
    )


def disposition_to_sign(kind: str, filename: str | None) -> str:
    """Write a disposition for a link, of characters alone that clients leave alone when they normalise a URL.

    Of a name with other characters ``filename-utf8`` holds all, percent-encoded; ``plain_disposition`` reads it. Whoever
    does not know it, as S3 itself, takes the plain name.
    """
    if not filename or _SURVIVES.fullmatch(filename):
        return content_disposition(kind, filename)
    exact = quote(filename, safe="").replace("~", "%7E")
    return f'{kind}; filename="{_NOT_SURVIVING.sub("_", filename)}"; filename-utf8={exact}'


def plain_disposition(signed: str | None) -> str | None:
    """Write a disposition that was signed or stored in ASCII, with ``filename*`` where its name has other characters.

    A name in the words of RFC 2047, which some mail libraries write, gets a ``filename*`` too: not every program decodes
    them. A disposition that is ASCII already, or that has its ``filename*``, is kept as it is.
    """
    if signed is None:
        return None
    exact = _EXACT.search(signed)
    if exact is not None:
        return content_disposition(signed.partition(";")[0].strip(), unquote(exact[1], errors="replace"))
    found = _NAME.search(signed)
    if found is None:
        return signed
    if _STAR.search(signed):
        return signed.encode("ascii", "replace").decode()
    given = found[2].strip() if found[1] is None else _ESCAPED.sub(r"\1", found[1])
    name = _decode_words(given)
    if name.isascii() and name == given:
        return signed
    rest = (signed[: found.start()] + signed[found.end() :]).encode("ascii", "replace").decode()
    kind, separator, others = rest.partition(";")
    return f"{content_disposition(kind.strip(), name)}{separator}{others}"


def _decode_words(name: str) -> str:
    """Read the words of RFC 2047 in a name; where one cannot be read, the name as it is."""
    try:
        # blanks between two words are not part of the name (RFC 2047 6.2)
        text = _WORD.sub(_read_word, _BETWEEN_WORDS.sub("", name))
    except (binascii.Error, LookupError, ValueError):
        return name
    return name if not text or any(c < " " or c == "\x7f" for c in text) else text


def _read_word(word: re.Match[str]) -> str:
    charset, encoding, text = word.groups()
    read = binascii.a2b_base64 if encoding in "bB" else partial(binascii.a2b_qp, header=True)
    return read(text.encode("ascii")).decode(charset.partition("*")[0])


def disposition_of(key: str, signed: str | None, content_type: str) -> str:
    """What an object is served with: ``attachment`` and its name, unless the link says otherwise.

    Args:
        key: of the object; the name is what follows its last slash.
        signed: the link's ``response-content-disposition``, or what the object was stored with, as
            ``plain_disposition`` writes it; None where there is neither.
        content_type: that the object is served with. ``inline`` is kept for safe types only.
    """
    if signed is None:
        return content_disposition("attachment", key.rpartition("/")[2])
    kind, separator, rest = signed.partition(";")
    media_type = content_type.partition(";")[0].strip().lower()
    is_safe = media_type in SAFE_INLINE or media_type.startswith(PLAYED_KINDS)
    # RFC 6266 4.2: a reader treats an unknown type as attachment, but browsers differ in what they take for unknown
    if kind.strip().lower() != "attachment" and not is_safe:
        return f"attachment{separator}{rest}"
    return signed
