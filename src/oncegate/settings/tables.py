"""The configuration as values that never change: a dataclass for each table, a field for each key.

Each field names the reader of ``spellings.py``, ``addresses.py`` or ``sockets.py`` that takes what is written in the file. Readers are idempotent
(``read(read(x)) == read(x)``), so the constructors validate with them too. A field's name carries its unit, its key in
the file does not. Nothing is opened here: whether a key, a store or a ledger can be used is for those who open it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from oncegate.settings.addresses import (
    UNIX_PEERS,
    Address,
    Network,
    UnixPeers,
    read_cors_origin,
    read_proxies,
    read_public_urls,
)
from oncegate.settings.sockets import Listen, read_accel_log, read_listen, read_mode
from oncegate.settings.spellings import (
    choice,
    duration_s,
    each,
    matching,
    read_count,
    read_credentials,
    read_header,
    read_homes,
    read_instant,
    read_options,
    read_prefix,
    read_signing,
    read_size_bytes,
    read_url,
)
from oncegate.settings.table import Table, key_of

CONNECTIONS_PER_ADDRESS = 256
"""Open connections of one address to the viewer's listener, unless the configuration says otherwise."""


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerSettings(Table):
    """``[viewer]``: the public listener.

    Attributes:
        listen: where it binds: an address, ``unix:PATH``, or ``systemd:NAME`` for a socket that systemd hands over.
        socket_mode: of the file of a Unix socket that it binds.
        public_url: scheme, lower-case host and port (where not the default) that links carry; the first is for new links.
        trusted_proxies: peers whose ``proxy_header`` is believed; ``unix:`` is whoever connects through a Unix socket.
        proxy_header: lower-case name of the one forwarding header that is believed.
        confirm: when a person is asked before a use is spent.
        cors_origins: origins that may read answers in a browser; ``*`` is all.
        connections_per_address: open connections of one address, or of one IPv6 network of 64 bits; 0 is no limit, and
            trusted proxies have none.
        drain_s: seconds that running transfers get to finish after SIGTERM.
        max_upload_bytes: the largest body of an upload that is taken, whatever a link allows.
    """

    listen: Listen = field(default=Address("127.0.0.1", 8080), metadata=key_of("listen", read_listen))
    socket_mode: str = field(default="660", metadata=key_of("socket_mode", read_mode))
    public_url: tuple[str, ...] = field(
        default=("http://127.0.0.1:8080",), metadata=key_of("public_url", read_public_urls, is_many=True)
    )
    trusted_proxies: tuple[Network | UnixPeers, ...] = field(
        default=(), metadata=key_of("trusted_proxies", read_proxies, is_many=True)
    )
    proxy_header: str = field(
        default="x-forwarded-for",
        metadata=key_of("proxy_header", read_header),
    )
    confirm: Literal["auto", "always", "never"] = field(
        default="auto", metadata=key_of("confirm", choice("auto", "always", "never"))
    )
    cors_origins: tuple[str, ...] = field(
        default=(), metadata=key_of("cors_origins", each(read_cors_origin), is_many=True)
    )
    connections_per_address: int = field(
        default=CONNECTIONS_PER_ADDRESS, metadata=key_of("connections_per_address", read_count)
    )
    drain_s: int = field(default=30, metadata=key_of("drain", duration_s(0)))
    max_upload_bytes: int = field(default=5 * 2**40, metadata=key_of("max_upload", read_size_bytes))

    @property
    def trusted_networks(self) -> tuple[Network, ...]:
        """Those of ``trusted_proxies`` that have addresses."""
        return tuple(proxy for proxy in self.trusted_proxies if not isinstance(proxy, str))

    @property
    def trusts_unix_peers(self) -> bool:
        """Whether whoever connects through a Unix socket is one of ``trusted_proxies``."""
        return UNIX_PEERS in self.trusted_proxies


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksSettings(Table):
    """``[links]``: what links may do.

    Attributes:
        plain_links: what a link without a ticket is worth.
        plain_put: beginnings of object keys where plain CloudFront links may PUT.
        resume_window_s: seconds after the last write of a claim in which its holder may ask for the rest.
        resume_by: what proves a holder.
        stall_timeout_s: seconds without progress after which a transfer is cut.
        max_lifetime_s: longest life of links made here; what retiring a key waits for.
        s3_bucket: requests for this bucket drop its name: the object key is the rest. Empty: none.
        s3_region: the region that S3 presigned URLs must name. Empty: any.
        home: the name of this gateway's ledger in tickets. Empty: none.
        delete_after: whether links may ask for their object to be removed after them; if not, they are refused.
    """

    plain_links: Literal["once", "allow", "refuse"] = field(
        default="once", metadata=key_of("plain_links", choice("once", "allow", "refuse"))
    )
    plain_put: tuple[str, ...] = field(default=(), metadata=key_of("plain_put", each(read_prefix), is_many=True))
    resume_window_s: int = field(default=900, metadata=key_of("resume_window", duration_s(0)))
    resume_by: Literal["cookie-or-address", "cookie", "never"] = field(
        default="cookie-or-address", metadata=key_of("resume_by", choice("cookie-or-address", "cookie", "never"))
    )
    stall_timeout_s: int = field(default=60, metadata=key_of("stall_timeout", duration_s(1)))
    max_lifetime_s: int = field(default=604_800, metadata=key_of("max_lifetime", duration_s(1)))
    s3_bucket: str = field(
        default="",
        metadata=key_of(
            "s3_bucket", matching(r"|[A-Za-z0-9][A-Za-z0-9._-]{1,254}", "write the name of a bucket alone")
        ),
    )
    s3_region: str = field(
        default="", metadata=key_of("s3_region", matching(r"|[a-z0-9-]{1,64}", "write a region, as in eu-central-1"))
    )
    home: str = field(default="", metadata=key_of("home", matching(r"[a-z0-9]{0,12}", "write 1 to 12 of a-z and 0-9")))
    delete_after: Literal["refuse", "allow"] = field(
        default="refuse", metadata=key_of("delete_after", choice("refuse", "allow"))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings(Table):
    """``[delivery]``: who sends the bytes of a download.

    Attributes:
        mode: ``stream``: the gateway. ``accel``: the proxy in front, told by ``X-Accel-Redirect``; nginx and Caddy can.
        accel_prefix: the proxy's internal location, before the object key.
        accel_log: where the gateway takes the proxy's line about each transfer: a UDP address, or ``unixgram:`` and the
            path of a socket that the gateway makes. Empty: nowhere.
        accel_min_bytes: shorter answers are sent by the gateway.
    """

    mode: Literal["stream", "accel"] = field(default="stream", metadata=key_of("mode", choice("stream", "accel")))
    accel_prefix: str = field(
        default="/_objects/",
        metadata=key_of(
            "accel_prefix", matching(r"/([A-Za-z0-9._-]+/){1,8}", "write the path of a location, as in /_objects/")
        ),
    )
    accel_log: str = field(default="", metadata=key_of("accel_log", read_accel_log))
    accel_min_bytes: int = field(default=256 * 2**10, metadata=key_of("accel_min", read_size_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings(Table):
    """``[control]``: the private listener.

    Attributes:
        listen: where it binds, as in ``[viewer]``.
        socket_mode: of the file of a Unix socket that it binds.
        cors_origins: origins whose pages may call it in a browser; ``*`` is all. A token is needed all the same.
    """

    listen: Listen = field(default=Address("127.0.0.1", 8081), metadata=key_of("listen", read_listen))
    socket_mode: str = field(default="660", metadata=key_of("socket_mode", read_mode))
    cors_origins: tuple[str, ...] = field(
        default=(), metadata=key_of("cors_origins", each(read_cors_origin), is_many=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings(Table):
    """``[store]``: where the objects are.

    Attributes:
        url: a URL whose scheme names the backend; those who open it know the schemes.
        options: the backend's own options as text; may hold secrets.
    """

    url: str = field(default="file:./objects", repr=False, metadata=key_of("url", read_url))
    options: Mapping[str, str] = field(
        default_factory=_nothing, repr=False, metadata=key_of("options", read_options, is_many=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSettings(Table):
    """``[ledger]``: where uses are recorded.

    Attributes:
        url: a URL whose scheme names the backend; may hold a password.
        accept: weaker promises that are accepted, by name.
        accept_from: after a restore, tickets made before this aware instant are refused; None: since the ledger's birth.
        homes: URLs of other ledgers, by the home that tickets name; ``url`` counts the links of this installation's own.
        events_size_bytes: room for the events of a ``sqlite:`` ledger; where there is no more, the oldest refusals and
            previews go first, downloads and uploads last.
    """

    url: str = field(default="sqlite:./ledger.db", repr=False, metadata=key_of("url", read_url))
    accept: tuple[str, ...] = field(
        default=(),
        metadata=key_of("accept", each(matching(r"[a-z0-9-]+", "write names such as redis-failover")), is_many=True),
    )
    accept_from: datetime | None = field(default=None, metadata=key_of("accept_from", read_instant))
    homes: Mapping[str, str] = field(
        default_factory=_nothing, repr=False, metadata=key_of("homes", read_homes, is_many=True)
    )
    events_size_bytes: int = field(default=256 * 2**20, metadata=key_of("events_size", read_size_bytes))

    @property
    def accept_from_ms(self) -> int | None:
        """``accept_from`` in milliseconds since 1970 UTC."""
        if self.accept_from is None:
            return None
        return (self.accept_from - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysSettings(Table):
    """``[keys]``: whom the viewer trusts, and who signs.

    Attributes:
        group: the folder of the key group, as written; ``Settings.resolve`` makes it a path.
        signing: where the private key is: a path, ``env:NAME``, or a service. Empty: nothing is signed here.
    """

    group: str = field(default="./keys", metadata=key_of("group", matching(r".+", "write the path of a folder")))
    signing: str = field(default="", metadata=key_of("signing", read_signing))


@dataclass(frozen=True, slots=True, kw_only=True)
class PagesSettings(Table):
    """``[pages]``: what people see who open a link in a browser.

    Attributes:
        name: whose links these are, at the top of every page. Empty: the host.
        logo: the path of a picture in its place: ``.svg``, ``.png``, ``.jpg`` or ``.webp``, at most 16 KiB. Empty: none.
        colour: of buttons and signs; moved towards black or white where it could not be seen. Empty: blue.
        contact: where readers may ask, at the foot of every page. Empty: the host.
        language: of readers whose browser asks for none that the pages have.
        previews: whether chats that draw a card of a link show the file's name on it.
    """

    name: str = field(default="", metadata=key_of("name", matching(r".{0,80}", "write at most 80 characters")))
    logo: str = field(
        default="",
        metadata=key_of(
            "logo", matching(r"|.+\.(svg|png|jpg|webp)", "write the path of a .svg, .png, .jpg or .webp file")
        ),
    )
    colour: str = field(
        default="", metadata=key_of("colour", matching(r"|#[0-9A-Fa-f]{6}", "write six digits, as in #0f766e"))
    )
    contact: str = field(default="", metadata=key_of("contact", matching(r".{0,200}", "write at most 200 characters")))
    language: Literal["en", "de", "fr", "es", "ja", "ar"] = field(
        default="en", metadata=key_of("language", choice("en", "de", "fr", "es", "ja", "ar"))
    )
    previews: Literal["neutral", "name"] = field(
        default="neutral", metadata=key_of("previews", choice("neutral", "name"))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings(Table):
    """``[log]``: how the log is written; ``auto``: for a person where it goes to a terminal, as JSON elsewhere."""

    format: Literal["auto", "json", "console"] = field(
        default="auto", metadata=key_of("format", choice("auto", "json", "console"))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsSettings(Table):
    """``[s3_credentials]``: with what S3 presigned URLs may be signed.

    Attributes:
        secrets: secret by access key id.
    """

    secrets: Mapping[str, str] = field(
        default_factory=_nothing, repr=False, metadata=key_of("s3_credentials", read_credentials, is_many=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration.

    Attributes:
        folder: where relative paths begin: the file's folder, absolute.
        file: the file that was read; None where there was none.
        s3_credentials: secret by access key id.
    """

    viewer: ViewerSettings = field(default_factory=ViewerSettings)
    links: LinksSettings = field(default_factory=LinksSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    keys: KeysSettings = field(default_factory=KeysSettings)
    pages: PagesSettings = field(default_factory=PagesSettings)
    log: LogSettings = field(default_factory=LogSettings)
    s3_credentials: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    folder: Path = field(default_factory=Path.cwd)
    file: Path | None = None

    def __post_init__(self) -> None:
        CredentialsSettings(secrets=self.s3_credentials)
        listen = self.viewer.listen
        if listen == self.control.listen and not (isinstance(listen, Address) and listen.port == 0):
            raise ValueError(
                "[control] listen is also [viewer] listen: give each listener a port or a socket of its own"
            )
        if self.links.home in self.ledger.homes:
            raise ValueError(
                "[ledger.homes] has [links] home too: its ledger is [ledger] url, take it out of the table"
            )
        if self.delivery.mode == "accel":
            self._check_accel()

    def _check_accel(self) -> None:
        """Refuse a configuration under which no transfer could be handed over, or none settled."""
        if not self.viewer.trusted_proxies:
            raise ValueError(
                '[delivery] mode = "accel" hands transfers to trusted proxies alone, and there are none: name the '
                'proxy\'s address in [viewer] trusted_proxies, or write mode = "stream"'
            )
        if not self.delivery.accel_log:
            raise ValueError(
                '[delivery] mode = "accel" needs the proxy\'s line about each transfer: write accel_log = '
                '"127.0.0.1:7403", and send the log there (docs/guides/let-the-proxy-send.md)'
            )
        if not self.store.url.startswith(("file:", "s3:")):
            raise ValueError('[delivery] mode = "accel" can serve file: and s3: stores: write mode = "stream"')

    def resolve(self, path: str) -> Path:
        """Return the path that is meant by one in the configuration: relative ones begin at the file's folder."""
        return self.folder / path

    def ledger_url(self, home: str = "") -> str:
        """Return the URL of the ledger that counts a home's links.

        Args:
            home: as tickets name it; empty: this installation's own.

        Raises:
            KeyError: the configuration has no such home.
        """
        return self.ledger.url if home in ("", self.links.home) else self.ledger.homes[home]


TABLES: Mapping[str, type[Table]] = {
    "viewer": ViewerSettings,
    "links": LinksSettings,
    "delivery": DeliverySettings,
    "control": ControlSettings,
    "store": StoreSettings,
    "ledger": LedgerSettings,
    "keys": KeysSettings,
    "pages": PagesSettings,
    "log": LogSettings,
    "s3_credentials": CredentialsSettings,
}
"""Every table of the configuration by its name."""
