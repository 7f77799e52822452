"""Who may call what: a bearer token with the scope of the call, asked for before anything of the body is read."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.responses import Response

from oncegate.control.issuing import Caller
from oncegate.control.parts import ControlParts
from oncegate.control.problems import GIVEN_TWICE, ProblemAnswer, documented

_CHALLENGE = 'Bearer realm="oncegate control"'
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
        """A route that asks for the token first. A dependency would not do: FastAPI reads the body before it asks those."""

        def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]  # Coroutine
            handle = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                request.state.caller = await _let_in(request, scope)
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


async def _let_in(request: Request, scope: str) -> Caller:
    """Check the token.

    Raises:
        ProblemAnswer: 401 without a good token, 403 where it is not for this.
        TokensUnfit: nobody can be let in.
    """
    shown = request.headers.getlist("authorization")
    # two Authorization headers count as none: a proxy may have judged by the other one
    kind, _, secret = shown[0].partition(" ") if len(shown) == 1 else ("", "", "")
    if kind.lower() != "bearer":
        raise ProblemAnswer(
            401, "This call needs a token: Authorization: Bearer og_...", headers={"WWW-Authenticate": _CHALLENGE}
        )
    parts = await parts_of(request)
    token = parts.tokens.check(secret.strip(" "), parts.now_s())
    if token is None:
        challenge = f'{_CHALLENGE}, error="invalid_token"'
        raise ProblemAnswer(401, "This token is unknown, revoked or expired.", headers={"WWW-Authenticate": challenge})
    if not token.allows(scope):
        challenge = f'{_CHALLENGE}, error="insufficient_scope", scope="{scope}"'
        detail = f"This token is not for {scope}: 'oncegate tokens new' makes one that is."
        raise ProblemAnswer(403, detail, headers={"WWW-Authenticate": challenge})
    return Caller(token, secret.strip(" ").encode())
