"""Make a link: from what an issuer wants to a signed URL. Needs no ledger and no network.

Everything that must hold is inside the signed bytes: the ticket, its limits, the name and type that the viewer gets.
Every door where links are made (command line, control API, package) decides here: how long a link may live
(``end_of``), which links can be made at all (``Wish``), and how a made link is shown (``members_of_made``).
"""

from __future__ import annotations

from dataclasses import dataclass

from oncegate.links import cloudfront, sigv4
from oncegate.links.disposition import disposition_to_sign
from oncegate.links.errors import BadRequest
from oncegate.links.grant import Confirm, Operation, Scheme
from oncegate.links.instants import instant_text
from oncegate.links.key_group import SigningKey
from oncegate.links.link_id import text_of_id
from oncegate.links.parameters import QUERY_MAX_BYTES
from oncegate.links.policy import EPOCH_MAX_S
from oncegate.links.ticket import Ticket
from oncegate.links.urls import object_key_problem, path_in_link, text_in_link
from oncegate.links.verify import MEDIA_TYPE, NOTE_MAX, SENDER_MAX, SIZE_MAX_BYTES, is_text_for_people

DEFAULT_LIFETIME_S = 3_600

FILENAME_MAX = 255
"""Characters; file systems take as many, and a URL could hold more."""


def end_of(*, now_s: int, max_lifetime_s: int, expires_s: int | None = None, lifetime_s: int | None = None) -> int:
    """Decide when a link expires.

    Args:
        now_s: seconds since 1970 UTC.
        max_lifetime_s: the longest that a link may live here; retiring a key waits that long.
        expires_s: the end that the issuer asked for, seconds since 1970 UTC.
        lifetime_s: or how long from now; neither: ``DEFAULT_LIFETIME_S``, or ``max_lifetime_s`` where that is less.

    Returns:
        Seconds since 1970 UTC; the link is refused at this second and after.

    Raises:
        BadRequest: both are given, the end is not in the future, or the link would live too long.
    """
    if lifetime_s is not None and expires_s is not None:
        raise BadRequest("expires_in", "give expires_in or expires_at, not both")
    argument = "expires_in" if expires_s is None else "expires_at"
    if expires_s is None:
        expires_s = now_s + (min(DEFAULT_LIFETIME_S, max_lifetime_s) if lifetime_s is None else lifetime_s)
    if expires_s <= now_s:
        raise BadRequest(argument, "the link would have expired already: its end lies in the past")
    if expires_s - now_s > max_lifetime_s:
        raise BadRequest(
            argument,
            f"links live at most {max_lifetime_s} seconds here, this one would live {expires_s - now_s}: "
            "ask for less, or raise [links] max_lifetime",
        )
    return expires_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a link should allow.

    Attributes:
        object_key: decoded text; one that ends in a slash is for uploads to any key beneath it, each a use.
        ticket: operation, uses, nonce, home.
        expires_s: seconds since 1970 UTC; refused at this second and after.
        not_before_s: refused at this second and before.
        source_ip: IPv4 address or network that may use it.
        filename: what a browser saves the object as.
        inline: a browser may show the object (safe types only) in place of saving it.
        max_bytes: of an upload.
        media_type: of an upload: ``type/subtype`` or ``type/*``; kept in lower case.
        may_replace: an upload may take the place of an object.
        confirm: whether a person is asked before a download, whatever the gateway is set to.
        sender: who sends the link, for its reader.
        note: what its sender says to its reader.
        delete_after: the object is removed once the link gives nothing any more.
        scheme: how to sign; ``signed_scheme`` is what becomes of it.
    """

    object_key: str
    ticket: Ticket
    expires_s: int
    not_before_s: int | None = None
    source_ip: str | None = None
    filename: str | None = None
    inline: bool = False
    max_bytes: int | None = None
    media_type: str | None = None
    may_replace: bool = False
    confirm: Confirm | None = None
    sender: str | None = None
    note: str | None = None
    delete_after: bool = False
    scheme: Scheme = Scheme.CANNED

    def __post_init__(self) -> None:
        is_upload = self.ticket.operation is Operation.PUT
        problem = object_key_problem(self.object_key.removesuffix("/") if is_upload else self.object_key)
        if problem:
            raise BadRequest("key", problem)
        self._check_operation()
        self._check_values()
        self._check_times()

    def _check_operation(self) -> None:
        uploads = self.max_bytes is not None or self.media_type is not None or self.may_replace
        if uploads and self.ticket.operation is not Operation.PUT:
            raise BadRequest("operation", "a size limit, a type or permission to replace is for upload links")
        if (self.filename is not None or self.inline) and self.ticket.operation is not Operation.GET:
            raise BadRequest("operation", "a file name and inline are for download links")
        if self.confirm is not None and self.ticket.operation is not Operation.GET:
            raise BadRequest("confirm", "whether a person is asked first is for download links")
        if self.delete_after and self.ticket.operation is not Operation.GET:
            raise BadRequest("delete_after", "removing the object afterwards is for download links")

    def _check_values(self) -> None:
        if self.filename is not None and any(c < " " or c == "\x7f" for c in self.filename):
            raise BadRequest("filename", "the file name has a control character")
        if self.filename is not None and (
            self.filename in (".", "..") or "/" in self.filename or "\\" in self.filename
        ):
            raise BadRequest("filename", "the file name is to be the name of one file: no folder, no / and no \\")
        if self.filename is not None and len(self.filename) > FILENAME_MAX:
            raise BadRequest("filename", f"the file name is longer than {FILENAME_MAX} characters")
        for argument, text, longest in (("from", self.sender, SENDER_MAX), ("note", self.note, NOTE_MAX)):
            if text is not None and not is_text_for_people(text, longest):
                raise BadRequest(argument, f"write one line of at most {longest} characters, and at least one")
        if self.max_bytes is not None and not 0 <= self.max_bytes <= SIZE_MAX_BYTES:
            raise BadRequest("max_bytes", "the size limit is a number of bytes of at most 18 digits")
        if self.media_type is not None:
            if not MEDIA_TYPE.fullmatch(self.media_type.lower()):
                raise BadRequest("content_type", f"{self.media_type!r} is no media type: write type/subtype or type/*")
            object.__setattr__(self, "media_type", self.media_type.lower())

    def _check_times(self) -> None:
        if not 0 <= self.expires_s <= EPOCH_MAX_S:
            raise BadRequest("expires_at", "the expiry is no second that a link can name")
        # refused at the second of the start and at the second of the end: between them one must be left
        if self.not_before_s is not None and self.not_before_s + 1 >= self.expires_s:
            raise BadRequest(
                "not_before", "no second is left between the start of the link and its end: it could never be opened"
            )
        if self.scheme is Scheme.S3 and self.is_any_key:
            raise BadRequest("scheme", "an S3 link is for one key: use cloudfront for all beneath a folder")
        if self.scheme is Scheme.S3 and cloudfront.needs_custom_policy(self.not_before_s, self.source_ip):
            raise BadRequest(
                "scheme", "an S3 link can hold neither a start nor a source address: use cloudfront-custom"
            )

    @property
    def is_any_key(self) -> bool:
        """Whether an upload may go to any key beneath this one, which ends in a slash."""
        return self.object_key.endswith("/")

    @property
    def signed_scheme(self) -> Scheme:
        """How the link is signed: a canned policy holds an end and nothing else, so CANNED may become CUSTOM."""
        needs_custom = self.is_any_key or cloudfront.needs_custom_policy(self.not_before_s, self.source_ip)
        return Scheme.CUSTOM if self.scheme is Scheme.CANNED and needs_custom else self.scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Issuer:
    """With what an S3 link is signed."""

    access_key_id: str
    secret: str
    region: str
    bucket: str = ""

    def __repr__(self) -> str:
        return f"S3Issuer({self.access_key_id!r}, {self.region!r})"


def url_to_sign(public_url: str, wish: Wish, *, bucket: str = "") -> str:
    """Write the URL without its signature, escaped once, so that also clients that normalise send these bytes.

    Args:
        public_url: scheme and host, no path.
        wish: what the link should allow.
        bucket: precedes the key in S3 links of an installation with one bucket.
    """
    parts = [f"once={wish.ticket}"]
    if wish.max_bytes is not None:
        parts.append(f"once-max={wish.max_bytes}")
    if wish.media_type is not None:
        parts.append(f"once-type={text_in_link(wish.media_type)}")
    if wish.may_replace:
        parts.append("once-replace=1")
    if wish.confirm is not None:
        parts.append(f"once-confirm={wish.confirm}")
    if wish.sender is not None:
        parts.append(f"once-from={text_in_link(wish.sender)}")
    if wish.note is not None:
        parts.append(f"once-note={text_in_link(wish.note)}")
    if wish.delete_after:
        parts.append("once-delete=1")
    if wish.filename is not None or wish.inline:
        disposition = disposition_to_sign("inline" if wish.inline else "attachment", wish.filename)
        parts.append(f"response-content-disposition={text_in_link(disposition)}")
    path = path_in_link(f"{bucket}/{wish.object_key}" if bucket else wish.object_key)
    return f"{public_url}{path}?{'&'.join(parts)}"


def make_link(wish: Wish, *, public_url: str, key: SigningKey | None, s3: S3Issuer | None, now_s: int) -> str:
    """Sign what was wished.

    Args:
        wish: what the link should allow.
        public_url: scheme and host that the link carries.
        key: signs CloudFront schemes.
        s3: signs the S3 scheme.
        now_s: seconds since 1970 UTC.

    Raises:
        BadRequest: the scheme cannot hold the wish, or there is nothing to sign it with.
    """
    url = _sign(wish, public_url=public_url, key=key, s3=s3, now_s=now_s)
    if len(url) > QUERY_MAX_BYTES and len(url.partition("?")[2]) > QUERY_MAX_BYTES:
        raise BadRequest("filename", "the link is longer than viewers take: shorten the file name or the note")
    return url


def _sign(wish: Wish, *, public_url: str, key: SigningKey | None, s3: S3Issuer | None, now_s: int) -> str:
    if wish.scheme is Scheme.S3:
        if s3 is None:
            raise BadRequest("scheme", "an S3 link needs an access key: add one to [s3_credentials]")
        return sigv4.presign_url(
            url_to_sign(public_url, wish, bucket=s3.bucket),
            method=wish.ticket.operation.name,
            access_key_id=s3.access_key_id,
            secret=s3.secret,
            region=s3.region,
            now_s=now_s,
            expires_in_s=wish.expires_s - now_s,
        )
    if key is None:
        raise BadRequest("scheme", "a CloudFront link needs a signing key: set [keys] signing")
    url = url_to_sign(public_url, wish)
    return cloudfront.sign_url(
        url,
        resource=url.replace("?", "*?", 1) if wish.is_any_key else url,
        key=key,
        expires_s=wish.expires_s,
        not_before_s=wish.not_before_s,
        source_ip=wish.source_ip,
        custom=wish.signed_scheme is Scheme.CUSTOM,
    )


def check_removals(setting: str) -> None:
    """Refuse to make a link whose object is to be removed, where the gateway would refuse to serve it.

    Args:
        setting: ``[links] delete_after``.

    Raises:
        BadRequest: it would.
    """
    if setting != "allow":
        raise BadRequest("delete_after", 'no object is removed here: set [links] delete_after = "allow" first')


def members_of_made(wish: Wish, *, url: str, made_s: int) -> dict[str, object]:
    """Say what was decided, under the names of ``POST /v1/links`` and of ``oncegate link --json``; None: no limit.

    Args:
        wish: what the link allows.
        url: the link; a secret of whoever it is for.
        made_s: seconds since 1970 UTC.
    """
    return {
        "id": text_of_id(wish.ticket.nonce),
        "url": url,
        "key": wish.object_key,
        "operation": wish.ticket.operation.word,
        "made_at": instant_text(made_s),
        "expires_at": instant_text(wish.expires_s),
        "not_before": None if wish.not_before_s is None else instant_text(wish.not_before_s),
        "uses": wish.ticket.uses,
        "source_ip": wish.source_ip,
        "filename": wish.filename,
        "inline": wish.inline,
        "max_bytes": wish.max_bytes,
        "content_type": wish.media_type,
        "overwrite": wish.may_replace,
        "confirm": wish.confirm,
        "from": wish.sender,
        "note": wish.note,
        "delete_after": wish.delete_after,
        "scheme": wish.signed_scheme.value,
        "home": wish.ticket.home or None,
    }
