"""The limits of the listeners: each is met before the one that would answer worse, or not at all."""

from __future__ import annotations

from oncegate.control.envelope import ANSWER_MAX_S, BODY_MAX_S
from oncegate.control.observing import READY_MAX_S
from oncegate.ledgers.runner import WAIT_MAX_S
from oncegate.links.parameters import QUERY_MAX_BYTES
from oncegate.links.policy import POLICY_MAX_BYTES
from oncegate.links.request import COOKIES_MAX_BYTES
from oncegate.links.urls import OBJECT_KEY_MAX_BYTES
from oncegate.server.limits import (
    BACKLOG,
    CONNECTIONS_MAX,
    HEAD_MAX_BYTES,
    HEAD_WITHIN_S,
    OPEN_REQUESTS_MAX,
    READ_ON_MAX,
    TARGET_MAX_BYTES,
)


def test_too_many_requests_are_answered_and_not_dropped() -> None:
    """At the limit of connections nobody answers; a quarter of them stays free for connections that are idle."""
    assert OPEN_REQUESTS_MAX + READ_ON_MAX <= CONNECTIONS_MAX * 4 // 5
    assert OPEN_REQUESTS_MAX <= CONNECTIONS_MAX * 3 // 4
    assert BACKLOG <= CONNECTIONS_MAX


def test_what_a_link_may_carry_fits_into_a_head() -> None:
    """A head over its limit is cut off without words; the limits inside it have answers that say what is too long."""
    assert TARGET_MAX_BYTES < HEAD_MAX_BYTES
    assert COOKIES_MAX_BYTES < HEAD_MAX_BYTES
    assert QUERY_MAX_BYTES <= TARGET_MAX_BYTES


def test_the_longest_policy_and_key_fit_into_a_target() -> None:
    """A policy in base64 is a third longer, and an object key is three times as long when percent-encoded."""
    assert POLICY_MAX_BYTES * 4 // 3 + OBJECT_KEY_MAX_BYTES * 3 < TARGET_MAX_BYTES


def test_inner_waits_end_before_outer_ones() -> None:
    """Otherwise the answer of the inner wait, which says what was waited for, could never be sent."""
    assert WAIT_MAX_S < 5 < HEAD_WITHIN_S
    assert READY_MAX_S < ANSWER_MAX_S
    assert BODY_MAX_S < ANSWER_MAX_S
