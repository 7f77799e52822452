"""The numbers of the listeners that depend on each other; ``tests/server/test_limits.py`` holds their relations.

What limits a link (bytes of a policy, of cookies, number of parameters) is defined where it is read, in ``links/``.
"""

from __future__ import annotations

BACKLOG = 1_024
"""Connections that the system holds before they are accepted."""

CONNECTIONS_MAX = 4_096
"""Open connections of one listener, idle ones included; further ones wait in the backlog and get no answer."""

OPEN_REQUESTS_MAX = 3_000
"""Requests of viewers that are answered at once; further ones get 503. Below ``CONNECTIONS_MAX``, so that the answer at
the limit is a 503 and not silence, with room for idle connections that are kept alive."""

READ_ON_MAX = 200
"""Refused requests whose bodies are read on at once, so that their clients see the answer; further ones are answered
without it. They are not counted among ``OPEN_REQUESTS_MAX``, and there is room for both below ``CONNECTIONS_MAX``."""

HEAD_MAX_BYTES = 32 * 1_024
"""Request line and headers; granian's own limit is 408 KiB for each connection."""

HEAD_WITHIN_S = 15
"""Seconds in which a head must be complete, and that an idle connection is kept open for its next one."""

TARGET_MAX_BYTES = 16 * 1_024
"""Of a viewer's request, raw. Below ``HEAD_MAX_BYTES``, so that a target which is too long has an answer of its own."""
