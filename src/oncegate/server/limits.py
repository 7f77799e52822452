"""The numbers of the listeners that depend on each other; ``tests/server/test_limits.py`` holds their relations.

What limits a link (bytes of a policy, of cookies, number of parameters) is defined where it is read, in ``links/``.
"""

from __future__ import annotations

BACKLOG = 1_024
"""Connections that the system holds before they are accepted."""

CONNECTIONS_MAX = 4_096
"""Open connections of one listener. At the limit the one that has been idle longest is closed for who comes; where none
is idle, who comes is answered 503."""

TURNED_AWAY_MAX = 256
"""Connections beyond the limit that are open just to be read 503; further ones are closed without a word."""

OPEN_REQUESTS_MAX = 3_000
"""Requests of viewers that are answered at once; further ones get 503. Below ``CONNECTIONS_MAX``, so that the answer at
the limit is a 503 that the gateway has written, with room for idle connections that are kept alive."""

READ_ON_MAX = 200
"""Refused requests whose bodies are read on at once, so that their clients see the answer; further ones are answered
without it. They are not counted among ``OPEN_REQUESTS_MAX``, and there is room for both below ``CONNECTIONS_MAX``."""

HEAD_MAX_BYTES = 32 * 1_024
"""Request line and headers, and what a chunked body may hold between two pieces of data."""

HEADERS_MAX = 100
"""Header lines of a request."""

HEAD_WITHIN_S = 15
"""Seconds in which a head must be complete, and that an idle connection is kept open for its next one."""

TARGET_MAX_BYTES = 16 * 1_024
"""Of a viewer's request, raw. Below ``HEAD_MAX_BYTES``, so that a target which is too long has an answer of its own."""

BODY_AHEAD_BYTES = 256 * 1_024
"""Of a body, received and not yet taken by the application."""

HELD_MAX_BYTES = 64 * 1_024
"""Received and not yet parsed, above which a connection is read no further: later requests, or more of a body."""

UNSENT_MAX_BYTES = 64 * 1_024
"""Of an answer, written and not yet taken by the kernel, above which the application waits."""

LARGE_BYTES = 256 * 1_024
"""From here on an answer is counted among those that may be many."""

CROWD_FREE = 32
"""Large answers under way of which the kernel takes as much as it likes: megabytes each, if their clients do not read."""

CROWD_UNSENT_BYTES = 64 * 1_024
"""What the kernel may hold unsent of each further one: 1,000 clients who read nothing cost it 220 MiB, without it 2.1 GiB."""

LINGER_S = 2.0
LINGER_MAX_BYTES = 1_024 * 1_024
"""How long, and for how much, a connection is still read that was answered before its request was read: otherwise it
is reset, and the client may not see the answer (RFC 9112 9.6)."""

KERNEL_FIRST_S = 5.0
"""How much longer than ``stall_timeout`` a transfer may stand still before the gateway cuts it: the kernel ends its
connection after ``stall_timeout``, and what it then says of the bytes is final."""

STALL_MORE_S = 10.0
"""How much longer than ``stall_timeout`` a connection may stand still before it is cut: the last resort, where neither the
kernel nor the application has seen it."""
