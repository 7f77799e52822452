"""Whether each public URL leads to this installation's gateway: it is asked twice, and no link is used up.

Asked for no link, oncegate answers 403 MissingKey, and so does any CloudFront distribution with a key group. The second
question, where there is a key to sign it with, is a HEAD of a link for an object that cannot exist. 404 comes from
whoever trusts our key, public URL and home; 403 from whoever does not; anything else tells nothing.
"""

from __future__ import annotations

import secrets
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from oncegate.cli.checkup.findings import Finding, failed, warning
from oncegate.cli.wiring import open_keys, open_signer
from oncegate.settings import Settings
from oncegate.unfit import Unfit

if TYPE_CHECKING:
    import httpx

    from oncegate.links.key_group import SigningKey

ANSWER_MAX_S = 5.0
_NAME = "public URL"
_PROBE_LIFETIME_S = 60


def look_at_public_urls(settings: Settings) -> list[tuple[Finding, float | None]]:
    """Ask each public URL; return what was found, and what its clock says, seconds since 1970 UTC."""
    import httpx

    key = _signing_key_of(settings)
    # a connection for each question: one that the other side is just closing would look like no answer
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(timeout=ANSWER_MAX_S, follow_redirects=False, limits=limits) as client:
        return [_look_at(client, url, settings, key) for url in settings.viewer.public_url]


def _signing_key_of(settings: Settings) -> SigningKey | None:
    """Return the key that signs here; None where none does, or it cannot be used, of which another finding tells."""
    try:
        return open_signer(settings, open_keys(settings)) if settings.keys.signing else None
    except Unfit:
        return None


def _look_at(
    client: httpx.Client, url: str, settings: Settings, key: SigningKey | None
) -> tuple[Finding, float | None]:
    import httpx

    try:
        answer = client.get(f"{url}/", headers={"accept": "*/*"})
        if answer.status_code != 403 or b"<Code>MissingKey</Code>" not in answer.content:
            words = f"{url} answers {answer.status_code}, and not as an oncegate does"
            remedy = "let [viewer] public_url or the proxy lead to the viewer's listener"
            return failed(_NAME, words, remedy), _date_of(answer)
        probed = None if key is None else client.head(_probe_of(url, settings, key), headers={"accept": "*/*"})
    except httpx.TransportError as error:
        words = f"{url} does not answer: {error}"
        return warning(_NAME, words, "start 'oncegate serve'; look at DNS, proxy and firewall"), None
    return _finding_of(url, None if probed is None else probed.status_code), _date_of(answer)


def _finding_of(url: str, status: int | None) -> Finding:
    """Say what the answer to the signed probe tells."""
    match status:
        case 404:
            return Finding(name=_NAME, words=f"{url} serves links of this installation")
        case None:
            return Finding(
                name=_NAME,
                words=f"{url} answers as oncegate does; whether it is this one cannot be asked, because no key signs here",
            )
        case 403:
            words = f"{url} leads to an oncegate that refuses a link signed here: it is another installation's"
            remedy = "let it lead to this one; or give its gateway these keys, this public_url and this ledger's home"
            return failed(_NAME, words, remedy)
        case _:
            words = f"{url} answers {status} to a link signed here, so it is not known whose gateway it is"
            return warning(_NAME, words, "look at its ledger and store, and at its log")


def _probe_of(url: str, settings: Settings, key: SigningKey) -> str:
    from oncegate.links.grant import Operation
    from oncegate.links.issue import Wish, make_link
    from oncegate.links.link_id import uuid7
    from oncegate.links.ticket import Ticket

    now_s = int(time.time())
    nonce = uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))
    wish = Wish(
        object_key=f"oncegate-doctor-{secrets.token_hex(16)}",
        ticket=Ticket(operation=Operation.GET, uses=1, nonce=nonce, home=settings.links.home),
        expires_s=now_s + _PROBE_LIFETIME_S,
    )
    return make_link(wish, public_url=url, key=key, s3=None, now_s=now_s)


def _date_of(answer: httpx.Response) -> float | None:
    try:
        return parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return None
