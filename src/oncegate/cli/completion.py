"""Object keys, keys and tokens for the shell: what can be completed without asking a network."""

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

    _take_config(ctx)
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


def complete_key_id(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the id of a key of the key group; nothing where anything is wrong."""
    from oncegate.cli.wiring import open_keys, settings_of
    from oncegate.unfit import Unfit

    _take_config(ctx)
    try:
        known = open_keys(settings_of(ctx)).keys
    except Unfit:
        return []
    return [CompletionItem(key_id, help=key.kind) for key_id, key in known.items() if key_id.startswith(incomplete)]


def complete_token(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the id of a token, with its name; typing the name finds it too. Nothing where anything is wrong."""
    from oncegate.cli.wiring import settings_of
    from oncegate.control.tokens import TokenFile
    from oncegate.unfit import Unfit

    _take_config(ctx)
    try:
        tokens = TokenFile(settings_of(ctx).resolve("tokens.json")).list_tokens()
    except (Unfit, OSError):
        return []
    return [CompletionItem(token.id, help=token.name) for token in tokens if incomplete in (token.id + token.name)]


def _take_config(ctx: click.Context) -> None:
    """Find the configuration: while a shell completes, no command ran that would have set it."""
    root = ctx.find_root()
    root.obj = root.params.get("config")
