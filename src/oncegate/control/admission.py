"""Who calls, and whether they may: by a bearer token of ours, or by what a door in front of this API has checked.

Exactly one way is in force, chosen when the application is put together, never by what a request carries.

Source: API Gateway Developer Guide, "Payload format" 2.0 for ``requestContext.authorizer``; RFC 8693, 4.2 for the claim
``scope``; RFC 6750, 3 for the challenges.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Literal, cast

from starlette.requests import HTTPConnection

from oncegate.control.callers import Caller
from oncegate.control.problems import ProblemAnswer
from oncegate.control.tokens import NAME_CHARACTERS_MAX, SCOPES, Token, TokenFile

AUTHORIZER = "oncegate.authorizer"
"""Where in an ASGI scope the API Gateway adapter puts ``requestContext.authorizer``; no header can set it."""
AuthorizerKind = Literal["iam", "jwt"]

_CHALLENGE = 'Bearer realm="oncegate control"'
_RESOURCE_SERVER = "oncegate/"
"""Cognito writes the identifier of a resource server in front of each of its scopes."""


class TokenCallers:
    """Callers that show a bearer token of a token file."""

    def __init__(self, tokens: TokenFile) -> None:
        self._tokens = tokens

    def admit(self, request: HTTPConnection, scope: str, now_s: int) -> Caller:
        """Check the token; see ``Callers.admit``."""
        shown = request.headers.getlist("authorization")
        # two Authorization headers count as none: a proxy may have judged by the other one
        kind, _, secret = shown[0].partition(" ") if len(shown) == 1 else ("", "", "")
        if kind.lower() != "bearer":
            raise ProblemAnswer(
                401, "This call needs a token: Authorization: Bearer og_...", headers={"WWW-Authenticate": _CHALLENGE}
            )
        token = self._tokens.check(secret.strip(" "), now_s)
        if token is None:
            challenge = f'{_CHALLENGE}, error="invalid_token"'
            raise ProblemAnswer(
                401, "This token is unknown, revoked or expired.", headers={"WWW-Authenticate": challenge}
            )
        if not token.allows(scope):
            raise _not_for(scope, f"This token is not for {scope}: 'oncegate tokens new' makes one that is.")
        return Caller(token, secret.strip(" ").encode())


class AuthorizedCallers:
    """Callers that an authorizer of API Gateway has checked before the function runs.

    By IAM, the right to invoke the route is the right to make the call, so nothing is asked beyond it. By JWT, the
    claim ``scope`` must name the scope of the call, as the issuer wrote it or behind ``oncegate/``.

    Args:
        kind: of the authorizer that every route has; a request that was let in by another one is refused.
        secret: drawn for the deployment; callers' secrets are derived from it.
    """

    def __init__(self, kind: AuthorizerKind, secret: bytes) -> None:
        self._kind = kind
        self._secret = secret

    def admit(self, request: HTTPConnection, scope: str, now_s: int) -> Caller:
        """Read what the authorizer found; see ``Callers.admit``. It has checked times, so ``now_s`` is not looked at."""
        found = _member(request.scope.get(AUTHORIZER), self._kind)
        who, scopes = _of_iam(found) if self._kind == "iam" else _of_jwt(_member(found, "claims"))
        if not who:
            raise ProblemAnswer(403, "This call comes without a caller that its authorizer knows.")
        if scope not in scopes and "*" not in scopes:
            raise _not_for(scope, f"This token is not for {scope}: its claim scope must name it.")
        secret = hmac.digest(self._secret, f"caller\0{self._kind}\0{who}".encode(), "sha256")
        named = "".join(character for character in who if character.isprintable())[-NAME_CHARACTERS_MAX:]
        token = Token(id=hashlib.sha256(who.encode()).hexdigest()[:8], name=named or "?", scopes=scopes, made_s=0)
        return Caller(token, secret)


def _of_iam(found: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Who calls: a role's session or a user, by the id that IAM never gives to another one."""
    who = str(found.get("callerId") or found.get("userId") or "")
    return who, ("*",)


def _of_jwt(claims: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Who calls, and which of our scopes the token names. API Gateway hands every claim as text."""
    subject = str(claims.get("sub") or claims.get("client_id") or "")
    named = {each.removeprefix(_RESOURCE_SERVER) for each in str(claims.get("scope") or "").split()}
    issuer = str(claims.get("iss") or "")
    return (f"{issuer} {subject}" if subject else ""), tuple(each for each in SCOPES if each in named)


def _member(value: object, name: str) -> Mapping[str, Any]:
    found = cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


def _not_for(scope: str, detail: str) -> ProblemAnswer:
    challenge = f'{_CHALLENGE}, error="insufficient_scope", scope="{scope}"'
    return ProblemAnswer(403, detail, headers={"WWW-Authenticate": challenge})
