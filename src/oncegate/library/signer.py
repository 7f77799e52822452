"""Sign links in a program: offline, without a ledger and without a network.

    signer = Signer.from_config()                     # the keys of an installation
    signer = Signer(key="private.pem", key_id="K2026", base_url="https://files.example.com")
    link = signer.download("reports/2026.pdf", expires_in=900, filename="Report.pdf")

Here are a program's types (timedelta, datetime, "get") turned into those of ``links.issue``, where every rule is; and
here are clock and random bytes, which the rules are given.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import Literal, Self

from oncegate.library.issuer import Issuer, issuer_of, public_url_of, read_key
from oncegate.library.link import Link
from oncegate.library.tickets import draw_ticket
from oncegate.links.errors import BadRequest
from oncegate.links.grant import Confirm, Operation, Scheme
from oncegate.links.issue import Wish, check_removals, end_of, make_link
from oncegate.links.link_id import text_of_id
from oncegate.links.ticket import Ticket
from oncegate.settings import Settings
from oncegate.settings.finding import find

MAX_LIFETIME_S = 7 * 86_400
SchemeName = Literal["cloudfront", "cloudfront-custom", "s3"]


class Signer:
    """Signs links. Threads may share one; making it reads the key, signing reads nothing."""

    def __init__(
        self,
        *,
        key: str | PathLike[str],
        base_url: str,
        key_id: str | None = None,
        max_lifetime: float | timedelta = MAX_LIFETIME_S,
    ) -> None:
        """Read the key.

        Args:
            key: private key, RSA or ECDSA P-256: PEM text, or the path of a PEM file.
            base_url: what links begin with: scheme, host and port, as in ``https://files.example.com``.
            key_id: under which the gateway's key group holds the public half; None: the file's name without ``.pem``.
            max_lifetime: the longest that a link may live, seconds or a timedelta.

        Raises:
            BadRequest: ``base_url`` has a path, or PEM text comes without ``key_id``.
            Unfit: the key cannot be used.
        """
        self._issuer = Issuer(
            key=read_key(key, key_id),
            s3=None,
            public_url=public_url_of(base_url),
            max_lifetime_s=_seconds("max_lifetime", max_lifetime),
        )

    @classmethod
    def from_config(cls, config: str | PathLike[str] | Settings | None = None) -> Self:
        """Sign as an installation does: its key, its public URL, its limits.

        Args:
            config: path of ``oncegate.toml``, or settings; None: ``ONCEGATE_CONFIG``, else ``./oncegate.toml``, else ``ONCEGATE_``
                variables alone.

        Raises:
            Unfit: the configuration or a key cannot be used.
        """
        made = cls.__new__(cls)
        settings = config if isinstance(config, Settings) else find(None if config is None else Path(config))
        made._issuer = issuer_of(settings)  # noqa: SLF001  the other constructor
        return made

    def download(
        self,
        key: str,
        *,
        expires_in: float | timedelta | None = None,
        expires_at: datetime | None = None,
        not_before: datetime | None = None,
        uses: int = 1,
        source_ip: str | None = None,
        filename: str | None = None,
        inline: bool = False,
        confirm: Confirm | None = None,
        from_: str | None = None,
        note: str | None = None,
        delete_after: bool = False,
        scheme: SchemeName = "cloudfront",
    ) -> Link:
        """Sign a link that opens an object.

        Args:
            key: object key, decoded. Whether the object exists is not looked at.
            expires_in: seconds or a timedelta; neither this nor ``expires_at``: an hour.
            expires_at: an aware datetime; the link is refused at this second and after.
            not_before: an aware datetime; the link is refused at this second and before.
            uses: how often it opens, 1 to 9999.
            source_ip: IPv4 address or network that may open it.
            filename: what a browser saves the object as.
            inline: a browser may show the object, where its type is safe to show.
            confirm: ``always``: a program gets 403, a person is asked first; ``never``: no page; None: as the gateway
                is set.
            from_: who sends the link; its page shows it as text. Underlined, because ``from`` is a word of Python.
            note: what the sender says to the reader; shown in the same way.
            delete_after: the object is removed once the link gives nothing any more. The ledger is not asked here, so a
                gateway knows of it from the link's first download on: an object that is to go also if nobody ever opens
                its link needs one of ``Client``, ``oncegate share`` or ``oncegate link``.
            scheme: how it is signed; ``cloudfront`` becomes ``cloudfront-custom`` where it must.

        Raises:
            BadRequest: no link can be made of this; it names the argument.
        """
        return self._sign(
            key,
            draw_ticket(Operation.GET, uses=uses, home=self._issuer.home),
            expires_in=expires_in,
            expires_at=expires_at,
            not_before=not_before,
            source_ip=source_ip,
            filename=filename,
            inline=inline,
            confirm=confirm,
            from_=from_,
            note=note,
            delete_after=delete_after,
            scheme=scheme,
        )

    def upload(
        self,
        key: str,
        *,
        expires_in: float | timedelta | None = None,
        expires_at: datetime | None = None,
        not_before: datetime | None = None,
        uses: int = 1,
        source_ip: str | None = None,
        max_bytes: int | None = None,
        content_type: str | None = None,
        overwrite: bool = False,
        from_: str | None = None,
        note: str | None = None,
        scheme: SchemeName = "cloudfront",
    ) -> Link:
        """Sign a link that stores an object.

        Args:
            key: object key, decoded, that the upload gets.
            expires_in: seconds or a timedelta; neither this nor ``expires_at``: an hour.
            expires_at: an aware datetime; the link is refused at this second and after.
            not_before: an aware datetime; the link is refused at this second and before.
            uses: how often it stores, 1 to 9999.
            source_ip: IPv4 address or network that may use it.
            max_bytes: the largest upload that is taken.
            content_type: only uploads of this type are taken: ``image/png`` or ``image/*``.
            overwrite: the upload may replace an object.
            from_: who sends the link; its page shows it as text. Underlined, because ``from`` is a word of Python.
            note: what the sender says to the reader; shown in the same way.
            scheme: how it is signed; ``cloudfront`` becomes ``cloudfront-custom`` where it must.

        Raises:
            BadRequest: no link can be made of this; it names the argument.
        """
        return self._sign(
            key,
            draw_ticket(Operation.PUT, uses=uses, home=self._issuer.home),
            expires_in=expires_in,
            expires_at=expires_at,
            not_before=not_before,
            source_ip=source_ip,
            max_bytes=max_bytes,
            media_type=content_type,
            may_replace=overwrite,
            from_=from_,
            note=note,
            scheme=scheme,
        )

    def _sign(
        self,
        key: str,
        ticket: Ticket,
        *,
        expires_in: float | timedelta | None,
        expires_at: datetime | None,
        not_before: datetime | None,
        scheme: str,
        source_ip: str | None = None,
        filename: str | None = None,
        inline: bool = False,
        max_bytes: int | None = None,
        media_type: str | None = None,
        may_replace: bool = False,
        confirm: Confirm | None = None,
        from_: str | None = None,
        note: str | None = None,
        delete_after: bool = False,
    ) -> Link:
        issuer, now_s = self._issuer, int(time.time())
        if delete_after:
            check_removals(issuer.delete_after)
        expires_s = end_of(
            now_s=now_s,
            max_lifetime_s=issuer.max_lifetime_s,
            expires_s=None if expires_at is None else _instant_s("expires_at", expires_at),
            lifetime_s=None if expires_in is None else _seconds("expires_in", expires_in),
        )
        wish = Wish(
            object_key=key,
            ticket=ticket,
            expires_s=expires_s,
            not_before_s=None if not_before is None else _instant_s("not_before", not_before),
            source_ip=source_ip,
            filename=filename,
            inline=inline,
            max_bytes=max_bytes,
            media_type=media_type,
            may_replace=may_replace,
            confirm=confirm,
            sender=from_,
            note=note,
            delete_after=delete_after,
            scheme=_scheme(scheme),
        )
        return Link(
            url=make_link(wish, public_url=issuer.public_url, key=issuer.key, s3=issuer.s3, now_s=now_s),
            id=text_of_id(ticket.nonce),
            key=key,
            operation=ticket.operation.word,
            uses=ticket.uses,
            expires_at=datetime.fromtimestamp(expires_s, UTC),
        )


def _scheme(name: str) -> Scheme:
    try:
        return Scheme(name)
    except ValueError:
        raise BadRequest("scheme", f"write one of {', '.join(scheme.value for scheme in Scheme)}") from None


def _seconds(argument: str, given: float | timedelta) -> int:
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if not 1 <= seconds < 2**40:
        raise BadRequest(argument, "give at least one second")
    return int(seconds)


def _instant_s(argument: str, at: datetime) -> int:
    if at.tzinfo is None:
        raise BadRequest(argument, "give a datetime with its zone: datetime.now(UTC)")
    return int(at.timestamp())
