"""Who asks: a person's browser, a program, or something that only looks ahead. And the cookies of a link.

Only looking ahead must spend nothing: chat previews, mail scanners and browsers' prefetches get a page with a button
(docs/promises.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from oncegate.links.request import ViewerRequest
from oncegate.links.ticket import text_of_id

GO_MAX_AGE_S = 60
OG_COOKIES_MAX = 20

# Fetchers that act on a link before its reader does. Names as they stand in User-Agent.
_PREVIEW_AGENT = re.compile(
    rb"facebookexternalhit|facebot|meta-externalagent|twitterbot|slackbot|slack-imgproxy|discordbot|telegrambot|whatsapp|"
    rb"linkedinbot|skypeuripreview|microsoftpreview|teams|bingpreview|googlebot|google-pagerenderer|google-safety|"
    rb"googleimageproxy|bingbot|applebot|yandexbot|baiduspider|duckduckbot|mastodon|pleroma|misskey|bluesky|cardyb|"
    rb"viber|line-poker|kakaotalk-scrap|snapchat|pinterestbot|redditbot|embedly|iframely|outbrain|vkshare|mattermost|"
    rb"rocket\.chat|matrix|synapse|zulip|signal-desktop|barracuda|proofpoint|mimecast|safelinks|urldefense|"
    rb"symantec|trendmicro|sophos|bitdefender|virustotal|fortinet|zscaler|mailchannels|spamassassin|linkcheck|"
    rb"petalbot|ahrefsbot|semrushbot|dotbot|headlesschrome|urlpreview|link.?preview",
    re.IGNORECASE,
)
_FETCH_METADATA = (b"sec-fetch-site", b"sec-fetch-dest", b"sec-fetch-user", b"sec-fetch-storage-access")
_PREFETCH_HEADERS = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")


@dataclass(frozen=True, slots=True)
class Cookies:
    """Names of a link's two cookies, for one listener."""

    prefix: bytes

    def claim(self, link_id: bytes) -> bytes:
        """Holds the claim id: a secret of the holder for as long as he may resume."""
        return self.prefix + b"og-" + text_of_id(link_id).encode()

    def go(self, link_id: bytes) -> bytes:
        """Says that the button was pressed."""
        return self.prefix + b"og-go-" + text_of_id(link_id).encode()

    def shown(self, request: ViewerRequest) -> dict[bytes, bytes]:
        """Our cookies in a request, at most ``OG_COOKIES_MAX``, the newest of them."""
        cookies = request.cookies(self.prefix + b"og-")
        # RFC 6265 5.4: "cookies with earlier creation-times are listed before": this link's own stands at the end
        return dict(list(cookies.items())[-OG_COOKIES_MAX:]) if cookies else cookies

    def claim_shown(self, request: ViewerRequest, link_id: bytes) -> bytes | None:
        """The claim id that a viewer shows for this link."""
        cookies = self.shown(request)
        return cookies.get(self.claim(link_id)) if cookies else None

    def header(self, name: bytes, value: str, max_age_s: int) -> tuple[bytes, bytes]:
        """Write Set-Cookie. Lax, because the first GET comes from a mail or another site."""
        secure = b"; Secure" if self.prefix else b""
        # Path=/ and not the object's: a ; is legal in a path, and would end the attribute
        text = b"%s=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax" % (name, value.encode(), max_age_s)
        return b"set-cookie", text + secure


COOKIES_HTTP = Cookies(b"")
# a browser takes __Host- only over https, for this host alone and all of it: no neighbour of the domain can set one
COOKIES_HTTPS = Cookies(b"__Host-")


def cookies_of(request: ViewerRequest) -> Cookies:
    """How cookies are called where the public URL is https, and where it is not."""
    return COOKIES_HTTPS if request.scheme == "https" else COOKIES_HTTP


def is_navigation(request: ViewerRequest) -> bool:
    """Whether a browser goes to the link: it says so, or, where it says nothing at all, wants HTML."""
    mode = request.header(b"sec-fetch-mode")
    if mode is not None:
        return mode == b"navigate"
    # browsers send them over https and to localhost only; elsewhere Accept is all there is to go by
    if any(map(request.header, _FETCH_METADATA)):
        return False
    return b"text/html" in (request.header(b"accept") or b"").lower()


def looks_ahead(request: ViewerRequest) -> str:
    """Why this request comes before its reader: ``prefetch``, ``preview``, or nothing."""
    for name, value in request.headers:
        if name in _PREFETCH_HEADERS and (b"prefetch" in value.lower() or b"preview" in value.lower()):
            return "prefetch"
        if name == b"user-agent" and _is_preview_agent(value):
            return "preview"
    return ""


@lru_cache(maxsize=1024)
def _is_preview_agent(agent: bytes) -> bool:
    """Browsers' names are long and few: looking one up costs a tenth of a microsecond, searching it some twenty."""
    return _PREVIEW_AGENT.search(agent) is not None


def is_of_another_site(request: ViewerRequest) -> bool:
    """Whether the button was pressed elsewhere."""
    # "none" is the user himself; nothing at all an older browser, or plain http. "same-site" is another host.
    return (request.header(b"sec-fetch-site") or b"none") not in (b"none", b"same-origin")


def agent_of(request: ViewerRequest) -> str | None:
    """User-Agent, short and printable, for events."""
    value = request.header(b"user-agent")
    return None if value is None else "".join(c for c in value.decode("latin-1")[:120] if c.isprintable())
