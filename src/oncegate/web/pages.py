"""The pages that a gateway shows to people: templates, one style sheet, one script, in the reader's language.

Whatever a link or a file says is escaped by the templates. A page loads nothing, runs only its own scripts, which its
policy names by their hashes, and holds no part of a signature, ticket or claim. The edge ships ``plain.py`` instead.

Jinja2 is here for templates that escape by themselves, Babel for catalogues and CLDR (``languages.py``).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from oncegate.links.cookies import cookies_of
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.settings.tables import Settings
from oncegate.unfit import Unfit
from oncegate.web.answers import ALWAYS, Answer, Header, location_of
from oncegate.web.colours import issuer_style
from oncegate.web.languages import COOKIE, COOKIE_MAX_AGE_S, LANGUAGES, Language, accepted_language, language
from oncegate.web.names import Shown, plain_text
from oncegate.web.uploading import Upload, upload_values
from oncegate.web.words import STATE_OF, STATES

Action = Literal["download", "play", "view"]

# one level of compression less than the best: 0.2 ms for the longest page
_LEVEL = 6
_GZIP = 31
_REFUSED_CODING = re.compile(rb";\s*q=0(?:\.0*)?\s*$")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_BREAK = re.compile(r"\s*\n\s*")
LOGO_MAX_BYTES = 16 * 1024
"""Every page carries it."""
_LOGOS = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}


class Ready(NamedTuple):
    """What the page with the button says.

    Attributes:
        file: what the link opens.
        action: what its button does.
        uses_left: how often the link still opens.
        expires_s: when it ends, seconds since 1970 UTC.
        resume_window_s: how long a download that broke can be resumed; 0: it cannot.
        sender: who sends the link.
        note: what they say.
        needs_cookies: the button was pressed, and its cookie did not come back.
    """

    file: Shown
    action: Action
    uses_left: int
    expires_s: int
    resume_window_s: int
    sender: str | None = None
    note: str | None = None
    needs_cookies: bool = False


class Broken(NamedTuple):
    """What the page of a download that broke says.

    Attributes:
        file: what is downloaded.
        part_bytes: of it that arrived, as far as is known.
        until_s: when its holder can have nothing more of it.
        has_rest: a part was never sent; if not, nobody knows whether all that was sent has arrived.
        may_start_again: the whole can be asked for once more.
    """

    file: Shown
    part_bytes: int
    until_s: int
    has_rest: bool
    may_start_again: bool


class Refusal(NamedTuple):
    """Why a page is shown in place of what was asked for.

    Attributes:
        reason: small on the page, for support.
        request_id: of the log.
        at_s: since or until when; for a genuine link alone.
        file: which one; for a genuine link alone.
        is_upload: the link is for uploads.
        uses: of the link, where it is genuine.
        retry_after_s: as the answer's header says.
    """

    reason: Reason
    request_id: str
    at_s: int | None = None
    file: Shown | None = None
    is_upload: bool = False
    uses: int = 1
    retry_after_s: int | None = None


class Uploaded(NamedTuple):
    """A file that has arrived.

    Attributes:
        file: which.
        at_s: when, seconds since 1970 UTC.
        sum: its SHA-256, in hex.
        uses_left: files that the link still takes.
    """

    file: Shown
    at_s: int
    sum: str
    uses_left: int


class Pages:
    """Renders pages for one configuration."""

    def __init__(self, settings: Settings) -> None:
        """Read the logo.

        Raises:
            Unfit: it cannot be read, or is too large.
        """
        self._logo = _logo_of(settings)
        self._settings = settings.pages
        self._style = asset("page.css")
        colour = settings.pages.colour
        self._issuer_style = issuer_style(colour, self._style) if colour else ""

    def ready(self, request: ViewerRequest, ready: Ready, *, status: int) -> Answer:
        """The page with the button."""
        said = {"note": plain_text(ready.note or ""), "sender": plain_text(ready.sender or "")}
        return self._page("ready.html", request, {**ready._asdict(), **said}, status=status)

    def started(self, request: ViewerRequest, file: Shown, resume_window_s: int) -> Answer:
        """The page of a download that is under way, for its holder; 403, because it is not the object."""
        return self._page("started.html", request, {"file": file, "resume_window_s": resume_window_s}, status=403)

    def broken(self, request: ViewerRequest, broken: Broken, *, request_id: str) -> Answer:
        """The page of a download that broke, for its holder; 403, because it is not the object."""
        values = {**broken._asdict(), "reason": "broken", "request_id": request_id}
        return self._page("broken.html", request, values, status=403)

    def player(self, request: ViewerRequest, file: Shown, *, element: Literal["video", "audio"], status: int) -> Answer:
        """The page that plays a sound or a film: its element asks for the bytes, in parts, and that is the use."""
        values: dict[str, object] = {
            "file": file,
            "element": element,
            "source": "?" + request.query.decode("latin-1"),
        }
        # never compressed: beside the name, which others may have chosen, its length would tell of the link
        return self._page("player.html", request, values, status=status, more="; media-src 'self'", may_compress=False)

    def refusal(self, request: ViewerRequest, refusal: Refusal, *, status: int) -> Answer:
        """The page that says in which state a link is."""
        name = _state_of(request, refusal)
        state = STATES[name]
        reader = self._language(request)
        file = refusal.file
        asked = (
            reader.say("Hello, the link to “%(name)s” does not open any more. Could you send me a new one?")
            if file
            else reader.say("Hello, the link that you sent me does not open any more. Could you send me a new one?")
        )
        values: dict[str, object] = {
            "name": name,
            "state": state,
            "at_s": refusal.at_s if "%(when)s" in state.text else None,
            "file": file,
            "waits_s": (refusal.retry_after_s or state.waits_s) if state.waits_s else 0,
            "request_text": asked % {"name": file.name.text} if file else asked,
            "reason": refusal.reason.value,
            "request_id": refusal.request_id,
        }
        return self._page("message.html", request, values, status=status)

    def upload(self, request: ViewerRequest, upload: Upload) -> Answer:
        """The page where files are sent."""
        values = upload_values(upload, self._settings.name or request.host, self._language(request))
        return self._page(
            "upload.html", request, values, status=200, styles=[asset("upload.css")], scripts=[asset("upload.js")]
        )

    def uploaded(self, request: ViewerRequest, uploaded: Uploaded) -> Answer:
        """The page that says that a file has arrived, for a browser without a script."""
        return self._page("uploaded.html", request, uploaded._asdict(), status=200, styles=[asset("upload.css")])

    def _page(
        self,
        template: str,
        request: ViewerRequest,
        values: Mapping[str, object],
        *,
        status: int,
        more: str = "",
        may_compress: bool = True,
        styles: Sequence[str] = (),
        scripts: Sequence[str] = (),
    ) -> Answer:
        reader, settings = self._language(request), self._settings
        own_styles = [self._style, self._issuer_style, *styles]
        own_scripts = [asset("page.js"), *scripts]
        text = (
            _templates()
            .get_template(template)
            .render(
                {
                    "lang": reader,
                    "languages": LANGUAGES,
                    "host": request.host,
                    "issuer": settings.name or request.host,
                    "logo": self._logo,
                    "contact": settings.contact,
                    "names_in_title": settings.previews == "name",
                    "style": Markup(self._style),  # noqa: S704  our own files
                    "issuer_style": Markup(self._issuer_style),  # noqa: S704  written by colours.py
                    "more_style": Markup("".join(styles)),  # noqa: S704  our own files
                    "script": Markup(own_scripts[0]),  # noqa: S704  our own files
                    "more_script": Markup("".join(scripts)),  # noqa: S704  our own files
                    "_": _saying(reader),
                    "count": reader.count,
                    **values,
                }
            )
        )
        headers: list[Header] = [
            *ALWAYS,
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-language", reader.code.encode()),
            (b"content-security-policy", (_policy(own_styles, own_scripts) + more).encode()),
            (b"vary", b"accept, accept-encoding, accept-language, cookie, sec-fetch-mode"),
        ]
        body = text.encode("utf-8", "replace")
        if may_compress and _takes_gzip(request):
            packer = zlib.compressobj(_LEVEL, wbits=_GZIP)
            body = packer.compress(body) + packer.flush()
            headers.append((b"content-encoding", b"gzip"))
        return Answer(status, headers, body)

    def _language(self, request: ViewerRequest) -> Language:
        # a page of a refusal is not refused once more, whatever the cookies are
        try:
            chosen = request.cookies(COOKIE).get(COOKIE, b"").decode("latin-1")
        except Refused:
            chosen = ""
        if chosen in LANGUAGES:
            return language(chosen)
        header = request.header(b"accept-language")
        accepted = None if header is None else accepted_language(header.decode("latin-1"))
        return language(accepted or self._settings.language)


def language_answer(request: ViewerRequest, code: str) -> Answer:
    """The answer to a reader who chose a language at the foot of a page: a cookie, and 303 to the same page."""
    cookie = cookies_of(request).header(COOKIE, code, COOKIE_MAX_AGE_S)
    return Answer(303, [*ALWAYS, (b"location", location_of(request)), cookie])


def _logo_of(settings: Settings) -> str:
    if not settings.pages.logo:
        return ""
    path = settings.resolve(settings.pages.logo)
    try:
        with path.open("rb") as file:
            data = file.read(LOGO_MAX_BYTES + 1)
    except OSError as error:
        raise Unfit(f"[pages] logo: cannot be read: {error.strerror}", where=str(path)) from None
    if len(data) > LOGO_MAX_BYTES:
        remedy = "every page carries it: make it smaller"
        raise Unfit(f"[pages] logo: larger than {LOGO_MAX_BYTES} bytes", remedy=remedy, where=str(path))
    return f"data:{_LOGOS[path.suffix]};base64,{base64.b64encode(data).decode()}"


def _state_of(request: ViewerRequest, refusal: Refusal) -> str:
    name = STATE_OF.get(refusal.reason, "other")
    if name == "incomplete" and not request.query:
        return "root"
    if name == "revoked" and refusal.is_upload:
        return "taken-back"
    if name == "used":
        return "received" if refusal.is_upload else "used" if refusal.uses == 1 else "used-up"
    return name


def _saying(reader: Language) -> Callable[..., Markup]:
    def say(text: str, **values: object) -> Markup:
        translated = Markup(reader.say(text))  # noqa: S704  of the catalogue; values are escaped by Markup
        return translated % values if values else translated

    return say


def _policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    # a frame of another site could lay its button over ours
    return (
        f"default-src 'none'; style-src {_hashes(styles)}; script-src {_hashes(scripts)}; connect-src 'self'; "
        "img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hashes(texts: Sequence[str]) -> str:
    return " ".join(_hash(text) for text in texts if text)


@cache
def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _takes_gzip(request: ViewerRequest) -> bool:
    header = (request.header(b"accept-encoding") or b"").lower()
    return any(_REFUSED_CODING.search(part) is None for part in header.split(b",") if part.strip().startswith(b"gzip"))


@cache
def asset(name: str) -> str:
    """A style sheet or a script as it is sent: without comment lines and indentation."""
    text = (files("oncegate.web") / "static" / name).read_text(encoding="utf-8")
    if name.endswith(".css"):
        return _BREAK.sub("", _COMMENT.sub("", text))
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _iso(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat()


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("oncegate.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["iso"] = _iso
    environment.filters["data"] = lambda value: Markup(  # noqa: S704  a < is the one sign that could end the element
        json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    )
    return environment
