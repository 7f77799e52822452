"""Who may call what: each call has its scope, and its caller is asked for before anything of the body is read."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.responses import Response

from oncegate.control.callers import Caller
from oncegate.control.parts import ControlParts
from oncegate.control.problems import GIVEN_TWICE, documented

_BEARER = HTTPBearer(auto_error=False, description="`oncegate tokens new` makes one.")
Handler = Callable[[Request], Awaitable[Response]]


async def parts_of(request: Request) -> ControlParts:
    """What the application was made of."""
    return cast("ControlParts", request.app.state.parts)


async def caller_of(request: Request) -> Caller:
    """Who was let in."""
    return cast("Caller", request.state.caller)


PartsSeen = Annotated[ControlParts, Depends(parts_of)]
CallerSeen = Annotated[Caller, Depends(caller_of)]


def scoped_router(scope: str, *, tag: str) -> APIRouter:
    """Make a router whose calls all need one scope.

    Args:
        scope: of ``tokens.SCOPES``.
        tag: group in the OpenAPI document.
    """

    class ScopedRoute(APIRoute):
        """A route that asks for the caller first. A dependency would not do: FastAPI reads the body before it asks those."""

        def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]  # Coroutine
            handle = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                parts = await parts_of(request)
                request.state.caller = parts.callers.admit(request, scope, parts.now_s())
                return await handle(_StrictRequest(request.scope, request.receive))

            return guarded

    return APIRouter(
        route_class=ScopedRoute,
        tags=[tag],
        dependencies=[Security(_BEARER, scopes=[scope])],
        responses=documented(401, 403),
    )


class _StrictRequest(Request):
    """A request whose JSON is read as RFC 8259 has it: in UTF-8, with each member of an object given once."""

    async def json(self) -> object:
        """Read the body.

        Raises:
            json.JSONDecodeError: it is no such JSON; FastAPI answers 422.
        """
        body = await self.body()
        try:
            return json.loads(body.decode(), object_pairs_hook=_each_once)
        except UnicodeDecodeError:
            raise json.JSONDecodeError("not UTF-8", "", 0) from None


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # some readers take the first of two members, others the last: a proxy may have judged by the other one
    members = dict(pairs)
    if len(members) != len(pairs):
        raise json.JSONDecodeError(GIVEN_TWICE, "", 0)
    return members
