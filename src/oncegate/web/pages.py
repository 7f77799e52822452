"""The page that plays a sound or a film."""

from __future__ import annotations

import html

from oncegate.web.plain import Page, page


def player_page(*, name: str, media_type: str, query: str) -> Page:
    """The page that plays a sound or a film: its element asks for the bytes, in parts, and that is the use.

    Args:
        name: of the file.
        media_type: ``audio/...`` or ``video/...``.
        query: of this very URL, raw.
    """
    kind = "video" if media_type.startswith("video/") else "audio"
    source = html.escape(f"?{query}")
    body = f'<h1>{html.escape(name)}</h1><{kind} controls autoplay src="{source}" style="width:100%"></{kind}>'
    return page(name, body, more_policy="; media-src 'self'")
