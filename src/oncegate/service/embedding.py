"""The viewer as an ASGI application inside another program: what ``oncegate.open_gateway`` is."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from os import PathLike
from pathlib import Path
from typing import Any

from oncegate.service import gateway
from oncegate.settings import Settings
from oncegate.settings.finding import find

AsgiApplication = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]
"""ASGI 3: ``await app(scope, receive, send)``."""


@contextlib.asynccontextmanager
async def open_gateway(
    config: str | PathLike[str] | Settings | None = None, *, log_descriptor: int = 2
) -> AsyncGenerator[AsgiApplication]:
    """Open the viewer; on leaving, cut what still runs, give back what was not sent, and close everything.

    Enter and leave it in the event loop that serves. The application takes HTTP scopes alone and knows no lifespan;
    docs/guides/embed.md says what the server around it must do.

    Args:
        config: path of ``oncegate.toml``, or settings; None: ``ONCEGATE_CONFIG``, else ``./oncegate.toml``, else
            ``ONCEGATE_`` variables alone.
        log_descriptor: file descriptor of the log, which gets one line of JSON a request; 2 is stderr.

    Yields:
        The ASGI application.

    Raises:
        Unfit: configuration, keys, ledger or store cannot be used; nothing was served.
    """
    settings = config if isinstance(config, Settings) else find(None if config is None else Path(config))
    async with gateway.open_gateway(settings, log_descriptor=log_descriptor) as opened:
        yield opened.app
