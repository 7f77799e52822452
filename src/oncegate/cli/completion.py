"""Object keys for the shell: what can be completed without asking a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from oncegate.stores.protocol import Store

KEYS_MAX = 100


def complete_key(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete an object key from a ``file:`` store; nothing where there is none, or anything is wrong."""
    import asyncio

    from oncegate.cli.wiring import open_store, settings_of
    from oncegate.stores.protocol import StoreFault
    from oncegate.unfit import Unfit

    root = ctx.find_root()
    root.obj = root.params.get("config")  # while a shell completes, no command ran that would have set it
    try:
        settings = settings_of(ctx)
        if not settings.store.url.startswith("file:"):
            return []
        keys = asyncio.run(_list_keys(open_store(settings), incomplete))
    except (Unfit, StoreFault):
        return []
    return [CompletionItem(key) for key in keys]


async def _list_keys(store: Store, prefix: str) -> list[str]:
    try:
        return [info.key for info in await store.list_objects(prefix, "", KEYS_MAX)]
    finally:
        await store.aclose()
