"""Signed, single-use links for private object storage.

    signer = oncegate.Signer.from_config()
    link = signer.download("reports/2026.pdf", expires_in=900)
    print(link.url)

Importing this module loads nothing but itself; each name is imported when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from oncegate.library.async_client import AsyncClient
    from oncegate.library.calls import ApiError
    from oncegate.library.client import Client
    from oncegate.library.link import Link
    from oncegate.library.signer import Signer
    from oncegate.library.tickets import ticket
    from oncegate.library.verifying import verify
    from oncegate.links.errors import BadRequest, OncegateError
    from oncegate.links.grant import Grant
    from oncegate.links.refusal import Refused
    from oncegate.service.embedding import open_gateway
    from oncegate.unfit import Unfit

__all__ = [
    "ApiError",
    "AsyncClient",
    "BadRequest",
    "Client",
    "Grant",
    "Link",
    "OncegateError",
    "Refused",
    "Signer",
    "Unfit",
    "open_gateway",
    "ticket",
    "verify",
]

_MODULES = {
    "ApiError": "oncegate.library.calls",
    "AsyncClient": "oncegate.library.async_client",
    "BadRequest": "oncegate.links.errors",
    "Client": "oncegate.library.client",
    "Grant": "oncegate.links.grant",
    "Link": "oncegate.library.link",
    "OncegateError": "oncegate.links.errors",
    "Refused": "oncegate.links.refusal",
    "Signer": "oncegate.library.signer",
    "Unfit": "oncegate.unfit",
    "open_gateway": "oncegate.service.embedding",
    "ticket": "oncegate.library.tickets",
    "verify": "oncegate.library.verifying",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  importing oncegate imports nothing

    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, also those that were not imported yet."""
    return sorted({*globals(), *__all__})
