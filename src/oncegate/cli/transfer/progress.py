"""A progress bar on stderr where that is a terminal, otherwise nothing.

Depends on rich for the bar alone; it is not imported where nobody would see one.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Shows how far a transfer has come."""

    def name(self, what: str) -> None:
        """Say what it is, once that is known."""
        ...

    def show(self, done_bytes: int, total_bytes: int | None) -> None:
        """Say how far: bytes of the whole object, None where its size is not known."""
        ...


class _Silent:
    def name(self, what: str) -> None:
        """Show nothing."""

    def show(self, done_bytes: int, total_bytes: int | None) -> None:
        """Show nothing."""


@contextmanager
def progress_on_terminal(what: str) -> Generator[Progress]:
    """Draw a bar while the block runs.

    Args:
        what: stands before the bar.
    """
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=True),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(escape(what), total=None)

        class Shown:
            def name(self, what: str) -> None:
                bars.update(task, description=escape(what))

            def show(self, done_bytes: int, total_bytes: int | None) -> None:
                bars.update(task, completed=done_bytes, total=total_bytes)

        yield Shown()
