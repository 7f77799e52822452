"""Every error of the control API, as ``application/problem+json`` (RFC 9457).

None says a word of the inside, and none quotes what was sent: a body may hold a URL with its signature, a header a
token. What went wrong inside is in the log, under the request id of the answer.
"""

from __future__ import annotations

import http
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route

from oncegate.control.issuing import KeyUsedOtherwise
from oncegate.control.recording import LedgerSilent, SweptAhead
from oncegate.control.tokens import TokensUnfit
from oncegate.links.errors import BadRequest
from oncegate.stores.protocol import StoreBusy, StoreFault
from oncegate.uses.record import RecordUnreadable

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
_NAME_CHARACTERS_MAX = 100
FAULTS_MAX = 20
GIVEN_TWICE = "a member is given twice"


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="As in `body.key`, `query.limit`, `header.Idempotency-Key`.")
    what: str


class Problem(BaseModel):
    """What went wrong."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Unprocessable Content",
                    "status": 422,
                    "detail": "The request cannot be understood.",
                    "errors": [{"where": "body.key", "what": "Field required"}],
                }
            ]
        },
    )

    type: str = Field(description="Always `about:blank`: the status says what kind it is.")
    title: str
    status: int
    detail: str
    errors: list[Fault] | None = None


class ProblemAnswer(Exception):
    """An answer that is a problem.

    Args:
        status: of the answer.
        detail: in words, for the caller; quotes nothing that was sent.
        headers: of the answer.
        members: further members of the problem.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers: dict[str, str] = dict(headers or {})
        self.members: dict[str, object] = dict(members or {})


def problem_response(refusal: ProblemAnswer) -> Response:
    """Write a problem."""
    content: dict[str, object] = {
        "type": "about:blank",
        "title": _TITLES.get(refusal.status) or http.HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.detail,
        **refusal.members,
    }
    headers = {"Retry-After": str(RETRY_AFTER_S)} if refusal.status == 503 else {}
    return JSONResponse(content, refusal.status, headers={**headers, **refusal.headers}, media_type=MEDIA_TYPE)


_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}  # as RFC 9110 has them; Python's names vary


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe errors for the OpenAPI document: those named, and any other."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    words = {str(status): _DESCRIPTIONS[status] for status in statuses} | {"default": "Any other problem."}
    return {
        (status if status == "default" else int(status)): {"description": text, "content": content}
        for status, text in words.items()
    }


_DESCRIPTIONS = {
    401: "No token, or one that is unknown, revoked or expired.",
    403: "The token is not for this.",
    404: "There is none.",
    422: "The request cannot be understood, or asks for what cannot be had; the words say what to change.",
    501: "The ledger of this installation cannot do this.",
    503: "The ledger or the store is out of reach: try again.",
}


def install_problems(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Make every error of an application a problem.

    Args:
        app: the application.
        routes: all of its own, for the Allow header: the framework names the methods of the first that fits.
    """
    app.state.routes = routes
    for kind, refusal in _KNOWN.items():
        app.add_exception_handler(kind, _answering(refusal))
    app.add_exception_handler(ProblemAnswer, _on_refusal)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(BadRequest, _on_bad_request)
    app.add_exception_handler(Exception, _answering(INTERNAL))


INTERNAL = ProblemAnswer(500, "Something failed here. The log has it, under the X-Request-Id of this answer.")

_KNOWN: dict[type[Exception], ProblemAnswer] = {
    LedgerSilent: ProblemAnswer(
        503, "The ledger did not answer in time. What was asked for may still happen; repeat the call to learn of it."
    ),
    RecordUnreadable: ProblemAnswer(
        409, "The record of this link is of another version of oncegate, or damaged. It is treated as used."
    ),
    SweptAhead: ProblemAnswer(
        503,
        "The ledger was swept by a clock that was ahead: a link that ends so soon would be refused. See oncegate doctor.",
    ),
    KeyUsedOtherwise: ProblemAnswer(
        422, "This Idempotency-Key made another link from another body, and it is still remembered. Draw a new key."
    ),
    StoreBusy: ProblemAnswer(503, "The store is out of reach or overloaded."),
    StoreFault: ProblemAnswer(502, "The store did not answer as it should. The log has the reason."),
    TokensUnfit: ProblemAnswer(503, "Tokens cannot be checked at the moment. The log has the reason."),
}


def _answering(refusal: ProblemAnswer) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        del request, error
        return problem_response(refusal)

    return answer


async def _on_refusal(request: Request, error: Exception) -> Response:
    del request
    return problem_response(error if isinstance(error, ProblemAnswer) else INTERNAL)


async def _on_http(request: Request, error: Exception) -> Response:
    """The framework's own: no such route, another method, a body that cannot be read."""
    if not isinstance(error, HTTPException):
        return problem_response(INTERNAL)
    detail = _OF_THE_FRAMEWORK.get(error.status_code, "The request cannot be answered.")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_methods_of(request))) or headers.get("Allow", "GET")
    return problem_response(ProblemAnswer(error.status_code, detail, headers=headers))


def _methods_of(request: Request) -> set[str]:
    """Which methods the path knows."""
    routes = cast("Sequence[BaseRoute]", request.app.state.routes)
    fitting = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in fitting if isinstance(route, Route | APIRoute) for method in route.methods or ()}


_OF_THE_FRAMEWORK = {
    400: "The body cannot be read.",
    404: "There is no such call; /openapi.json lists them.",
    405: "This call does not know this method; the Allow header says which it knows.",
    408: "The body did not come in time.",
    413: "The body is too large.",
}


async def _on_bad_request(request: Request, error: Exception) -> Response:
    del request
    bad = cast("BadRequest", error)
    members = {"errors": [{"where": f"body.{bad.argument}", "what": bad.why}]}
    return problem_response(ProblemAnswer(422, f"No such link can be made: {bad.why}.", members=members))


async def _on_validation(request: Request, error: Exception) -> Response:
    faults: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else ()
    # without this header the body is not read as JSON, and pydantic's words would be about a string
    if any(fault["loc"] == ("body",) for fault in faults) and not _is_json(request.headers.get("content-type", "")):
        return problem_response(ProblemAnswer(422, "Say what the body is: send Content-Type: application/json."))
    members = {"errors": [{"where": _where(fault["loc"]), "what": _what(fault)} for fault in faults[:FAULTS_MAX]]}
    return problem_response(ProblemAnswer(422, "The request cannot be understood.", members=members))


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _where(location: Sequence[object]) -> str:
    return ".".join(str(step) for step in location)[:_NAME_CHARACTERS_MAX]


def _what(fault: Mapping[str, Any]) -> str:
    """Say it in pydantic's words, never with its ``input`` (what was sent)."""
    if fault.get("type") == "json_invalid":
        return GIVEN_TWICE if fault.get("ctx", {}).get("error") == GIVEN_TWICE else "not JSON"
    return str(fault["msg"]).removeprefix("Value error, ")
