"""A fixture that stands for CloudFront: signed URLs judged as AWS judges them, with no account and no emulator.

    pytest_plugins = ["oncegate.testing.cloudfront"]

    def test_a_link_opens_once(cloudfront):
        site = cloudfront(keys={"K1": PUBLIC_PEM}, objects={"a.txt": b"x"}, function=None)
        assert site.get(sign(site.url("a.txt"))).body == b"x"

The referee itself is ``oncegate.aws.referee``; what it does not model stands in ``distribution`` there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from oncegate.aws.referee.served import Served, serve_memory
from oncegate.aws.referee.site import Seen
from oncegate.aws.reply import Reply

__all__ = ["Reply", "Seen", "Served", "cloudfront", "serve_memory"]


@pytest.fixture
def cloudfront() -> Iterator[Callable[..., Served]]:
    """Serve keys and objects; arguments are those of ``serve_memory``. All that was served ends with the test."""
    with contextlib.ExitStack() as stack:

        def serve(**arguments: object) -> Served:
            return stack.enter_context(contextlib.closing(serve_memory(**arguments)))  # type: ignore[arg-type]

        yield serve
