"""``verify``: ask, in a program, what a link allows. Takes no use and asks no ledger: the signature alone decides."""

from __future__ import annotations

import time
from datetime import datetime
from os import PathLike
from pathlib import Path

from oncegate.keys.folder import KeyFolder
from oncegate.keys.trust import trust_of
from oncegate.links.address import canonical_address
from oncegate.links.errors import BadRequest
from oncegate.links.grant import Grant
from oncegate.links.public_urls import PublicUrls
from oncegate.links.verify import verify as verify_request
from oncegate.settings import Settings
from oncegate.settings.finding import find


def verify(
    url: str,
    *,
    method: str = "GET",
    config: str | PathLike[str] | Settings | None = None,
    address: str | None = None,
    at: datetime | None = None,
) -> Grant:
    """Verify a link as the gateway does before it looks into store and ledger.

    Args:
        url: the whole link, as it will be requested.
        method: ``GET``, ``HEAD`` or ``PUT``.
        config: path of ``oncegate.toml``, or settings; None: ``ONCEGATE_CONFIG``, else ``./oncegate.toml``, else
            ``ONCEGATE_`` variables alone. Its key group is read anew at each call.
        address: IP address of the one who opens it; None: nobody in particular, who is in no network.
        at: an aware datetime; None: now.

    Raises:
        Refused: the gateway would refuse it; ``reason`` says why.
        BadRequest: the URL is no absolute http or https URL, the address is none, or ``at`` has no zone.
        Unfit: configuration or keys cannot be used.
    """
    settings = config if isinstance(config, Settings) else find(None if config is None else Path(config))
    trust = trust_of(settings, KeyFolder(settings.resolve(settings.keys.group)).group)
    canonical = None if address is None else canonical_address(address)
    if address is not None and canonical is None:
        raise BadRequest("address", "write an IPv4 or IPv6 address")
    if at is not None and at.tzinfo is None:
        raise BadRequest("at", "give a datetime with its zone: datetime.now(UTC)")
    try:
        request, _ = PublicUrls(settings.viewer.public_url).request_to(url, address=canonical)
    except ValueError as error:
        raise BadRequest("url", str(error)) from None
    now_s = int(time.time() if at is None else at.timestamp())
    return verify_request(request.as_method(method), trust, now_s=now_s)
