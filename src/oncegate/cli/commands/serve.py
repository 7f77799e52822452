"""``oncegate serve``: both listeners in one process, until SIGTERM or SIGHUP."""

from __future__ import annotations

import asyncio
import gc
import signal

import click

from oncegate.cli import wiring
from oncegate.cli.streams import hold_standard_descriptors, say


@click.command(name="serve")
@click.pass_context
def command(ctx: click.Context) -> None:
    r"""Serve links, and the control API beside them.

    Says 'viewer ready URL' and 'control ready URL' on stderr when they answer. On SIGTERM (or SIGHUP, or Ctrl-C) it takes no new
    connections, lets transfers finish for [viewer] drain, settles what broke, and exits with 0.

    \b
    Example:
      oncegate --config /etc/oncegate/oncegate.toml serve
    """
    hold_standard_descriptors()
    settings = wiring.settings_of(ctx)

    import uvloop

    from oncegate.service.listeners import running

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # nohup starts its program with SIGHUP ignored, and means that it goes on.
            if number is not signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, stop.set)
        async with running(settings, announce=say):
            # What was imported stays: the collector need not walk over it for every few hundred requests.
            gc.freeze()
            gc.set_threshold(20_000, 20, 100)
            await stop.wait()

    uvloop.run(serve())
