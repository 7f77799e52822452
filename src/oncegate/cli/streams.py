"""The standard streams of a process that serves: they may be closed, full, or read by nobody, and it serves all the same."""

from __future__ import annotations

import contextlib
import os
import threading

STDERR = 2
ORDERED_S = 0.1
"""How long a line may hold up the next, so that they come in order where somebody reads."""


def hold_standard_descriptors() -> None:
    """Open /dev/null for each of the descriptors 0, 1 and 2 that is closed; to be called before anything is opened.

    Otherwise the next socket or file gets that number, and whatever is written to stderr goes into it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - its only parameter
    os.close(descriptor)


def say(words: str) -> None:
    """Write a line to stderr without waiting for a reader: in a thread of its own, and a fault is swallowed."""

    def write() -> None:
        line = f"{words}\n".encode(errors="replace")
        with contextlib.suppress(OSError):
            while line:
                line = line[os.write(STDERR, line) :]

    # A daemon: a thread that waits for a full pipe must not keep the process from ending.
    thread = threading.Thread(target=write, name="oncegate-say", daemon=True)
    thread.start()
    thread.join(ORDERED_S)
