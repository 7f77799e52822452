"""Content-Disposition: written when a link is made and when an object is served."""

from __future__ import annotations

from oncegate.links.urls import escape

# Types that a browser can show without running anything of the object's own on our origin.
SAFE_INLINE = frozenset(
    ("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "text/plain", "application/pdf")
)
PLAYED_KINDS = ("audio/", "video/")


def content_disposition(kind: str, filename: str | None) -> str:
    """Write a Content-Disposition that every browser reads: RFC 6266, and RFC 8187 where the name is not plain ASCII.

    Args:
        kind: ``attachment`` or ``inline``.
        filename: decoded; control characters must not be in it.
    """
    if not filename:
        return kind
    # RFC 6266 D: some readers take a % in the quoted form for an escape; those that know filename* read that instead
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in filename)
    quoted = f'{kind}; filename="{plain}"'
    return quoted if plain == filename else f"{quoted}; filename*=UTF-8''{escape(filename)}"


def disposition_of(key: str, signed: str | None, content_type: str) -> str:
    """What an object is served with: ``attachment`` and its name, unless the link says otherwise.

    Args:
        key: of the object; the name is what follows its last slash.
        signed: the link's ``response-content-disposition``; None where it has none.
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
