"""The control API as one ASGI application: where links are made, listed and revoked (docs/reference/http.md).

For the private listener. Everything but ``/healthz``, ``/readyz`` and the OpenAPI document needs a bearer token with
the scope of the call. Every error is a problem (RFC 9457). CORS for the origins of the
configuration alone. The one page, ``/docs``, loads nothing from other hosts.

FastAPI, because it is what people who call such an API know and it writes the OpenAPI document; it costs a request
130 us, and no viewer's request comes here.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from oncegate import __version__
from oncegate.control import links, objects, observing, older
from oncegate.control.bodies.forms import Given, Taken
from oncegate.control.envelope import Envelope
from oncegate.control.explorer import exploring
from oncegate.control.older import TRUNCATED_HEADER
from oncegate.control.parts import ControlParts, PartState
from oncegate.control.problems import Problem, install_problems

__all__ = ["ControlParts", "PartState", "control_app", "openapi_document"]

_ROUTERS = (
    links.writing,
    links.reading,
    objects.reading,
    observing.reading,
    observing.metering,
    observing.probing,
    exploring,
    older.writing,
    older.reading,
)
_DESCRIPTION = """Signed, single-use links for private object storage.

Instants are RFC 3339, sizes are bytes, an `id` is the 22 characters that name a link. Lists come in pages: give `next`
as `after` until it is null. Errors are `application/problem+json`. No answer may be cached."""


def control_app(parts: ControlParts) -> ASGIApp:
    """Make the application.

    Args:
        parts: what it needs; nothing is opened or closed here.
    """
    app = _application()
    app.state.parts = parts
    origins = parts.settings.control.cors_origins
    if origins:
        # no credentials: a token is sent by the page itself, and no cookie means anything here
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key"],
            expose_headers=["Retry-After", "X-Request-Id", TRUNCATED_HEADER],
        )
    return Envelope(app, parts)


def openapi_document() -> dict[str, Any]:
    """Write the OpenAPI document, for those who publish it; the same for every installation."""
    return _application().openapi()


class _Application(FastAPI):
    """FastAPI, with an OpenAPI document that lacks nothing."""

    def openapi(self) -> dict[str, Any]:
        """Write the document when it is first asked for: it costs 40 ms, which a start need not wait for."""
        is_new = self.openapi_schema is None
        document = super().openapi()
        if is_new:
            _complete(document["components"]["schemas"])
        return document


def _application() -> FastAPI:
    app = _Application(
        title="oncegate control",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url="/openapi.json",
        # FastAPI's own pages load scripts from another host; explorer.py has ours.
        docs_url=None,
        redoc_url=None,
        # The redirect would be built from the Host header.
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    install_problems(app, [route for router in _ROUTERS for route in router.routes])
    for router in _ROUTERS:
        app.include_router(router)
    return app


def _operation_id(route: APIRoute) -> str:
    """Name a call as its function: generated clients make methods of these names."""
    is_second = "older calls" in route.tags and route.path.startswith("/v1/")
    return f"{route.name}_v1" if is_second else route.name


def _complete(schemas: dict[str, Any]) -> None:
    """Add what FastAPI leaves out: the schema of problems, which no call returns, and null in examples."""
    for model in (*Taken.__subclasses__(), *Given.__subclasses__()):
        extra = model.model_config.get("json_schema_extra")
        if isinstance(extra, dict) and model.__name__ in schemas:
            schemas[model.__name__] |= extra
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**problem.pop("$defs"), "Problem": problem}
