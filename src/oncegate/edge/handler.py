"""What Lambda calls, for both triggers of a behaviour.

Before a request is answered nothing is passed on: where the function fails, CloudFront answers 502 or 503 by itself.
"""

from __future__ import annotations

import contextlib
import time

from oncegate.edge.configuration import CONFIGURATION, read_configuration
from oncegate.edge.event import Event
from oncegate.edge.home import Home
from oncegate.edge.origin_response import OriginResponses
from oncegate.edge.viewer_request import ViewerRequests
from oncegate.links.refusal import Refused

START_MAX_S = 2.0

_configuration = read_configuration(CONFIGURATION)
_homes = {name: Home(_configuration.table, region) for name, region in _configuration.homes.items()}
_viewer_requests = ViewerRequests(_configuration, _homes)
_origin_responses = OriginResponses(_homes)


def handler(event: Event, context: object) -> Event:
    """Answer an event.

    Args:
        event: CloudFront's, of viewer request or origin response.
        context: Lambda's; not looked at.
    """
    cf = event["Records"][0]["cf"]
    if cf["config"]["eventType"] == "origin-response":
        return _origin_responses.answer(cf)
    return _viewer_requests.answer(cf)


def start() -> None:
    """Open the connection to the first home and read its birth, while a new instance still has a whole processor."""
    with contextlib.suppress(Refused):  # the first request says so
        for home in list(_homes.values())[:1]:
            home.born(until=time.monotonic() + START_MAX_S)
