"""From what an issuer names to a link: 22 characters of an id, or a URL whose signature verifies.

An expired link, or one for another network, is still a link that its issuer may ask about; a forged one is not. The
checks are those of ``links/verify.py``, without the three that depend on the moment and on who asks.
"""

from __future__ import annotations

from dataclasses import dataclass

from oncegate.cli.main import Misuse, Refusal
from oncegate.cli.wiring import open_keys
from oncegate.keys.trust import trust_of
from oncegate.links.grant import Grant
from oncegate.links.link_id import id_of_text
from oncegate.links.pasted import as_pasted
from oncegate.links.public_urls import PublicUrls
from oncegate.links.refusal import Refused
from oncegate.links.verify import verify_by_any_method
from oncegate.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A link that somebody named.

    Attributes:
        link_id: 16 bytes.
        grant: what its URL says; None where it was named by its id.
    """

    link_id: bytes
    grant: Grant | None


def read_link(text: str, settings: Settings, *, now_s: int) -> Named:
    """Read ``URL|ID``.

    Args:
        text: as it was typed.
        settings: of the configuration.
        now_s: seconds since 1970 UTC.

    Raises:
        Misuse: neither a URL nor an id.
        Refusal: the URL's signature does not verify here.
    """
    text = as_pasted(text)
    if "://" not in text:
        try:
            return Named(link_id=id_of_text(text), grant=None)
        except ValueError:
            raise Misuse(f"{text[:40]!r} is neither a link nor the 22 characters of a link id") from None
    trust = trust_of(settings, open_keys(settings).group)
    try:
        request, _ = PublicUrls(settings.viewer.public_url).request_to(text)
        _, grant = verify_by_any_method(request, trust, now_s=now_s)
    except ValueError as error:
        raise Misuse(str(error)) from None
    except Refused as refused:
        hint = f" ({refused.hint})" if refused.hint else ""
        raise Refusal(f"{refused.words}{hint}: 'oncegate explain' says more") from None
    return Named(link_id=grant.link_id, grant=grant)
