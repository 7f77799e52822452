"""The two cookies of a link: their names, their attributes, and which of them a request shows.

One holds the claim id, with which a holder resumes; the other says that the button of the page was pressed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from oncegate.links.link_id import text_of_id
from oncegate.links.request import ViewerRequest

GO_MAX_AGE_S = 60
OG_COOKIES_MAX = 20


@dataclass(frozen=True, slots=True)
class Cookies:
    """Names of a link's two cookies, for one listener."""

    prefix: bytes

    def claim(self, link_id: bytes) -> bytes:
        """The cookie with the claim id, which is the holder's secret for as long as they may resume."""
        return self.prefix + b"og-" + text_of_id(link_id).encode()

    def go(self, link_id: bytes) -> bytes:
        """The cookie that says that the button was pressed."""
        return self.prefix + b"og-go-" + text_of_id(link_id).encode()

    def shown(self, request: ViewerRequest) -> dict[bytes, bytes]:
        """Our cookies in a request, at most ``OG_COOKIES_MAX``, the newest of them."""
        cookies = request.cookies(self.prefix + b"og-")
        # RFC 6265 5.4: "cookies with earlier creation-times are listed before", so this link's own are at the end
        return dict(list(cookies.items())[-OG_COOKIES_MAX:]) if cookies else cookies

    def claim_shown(self, request: ViewerRequest, link_id: bytes) -> bytes | None:
        """The claim id that a viewer shows for this link."""
        cookies = self.shown(request)
        return cookies.get(self.claim(link_id)) if cookies else None

    def header(self, name: bytes, value: str, max_age_s: int) -> tuple[bytes, bytes]:
        """Write Set-Cookie. Lax, because the first GET comes from a mail or another site."""
        secure = b"; Secure" if self.prefix else b""
        # Path=/ and not the object's path, in which a ; is legal and would end the attribute
        text = b"%s=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax" % (name, value.encode(), max_age_s)
        return b"set-cookie", text + secure


COOKIES_HTTP = Cookies(b"")
# a browser takes __Host- only over https, for this host alone and all of it: no neighbour of the domain can set one
COOKIES_HTTPS = Cookies(b"__Host-")


def cookies_of(request: ViewerRequest) -> Cookies:
    """How cookies are called where the public URL is https, and where it is not."""
    return COOKIES_HTTPS if request.scheme == "https" else COOKIES_HTTP


_OURS = re.compile(rb"(?:^|;)[ \t]*(?:__Host-)?og-")


def has_our_cookies(request: ViewerRequest) -> bool:
    """Whether a request shows a cookie of any link, however many there are. Refuses nothing."""
    return _OURS.search(request.header(b"cookie") or b"") is not None
