"""``/docs``: the control API as a page to read and to try, for a browser that can reach this listener.

Swagger UI, from files of this package (``swagger_ui/``, which tools/get_swagger_ui.py keeps); it shows ``/openapi.json``
of the same listener. The page needs no token, as the document needs none; calls from it do. Its policy lets no script
run but these files, and sends nothing to another host. It is no call of the API and is not in the document.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response

FOLDER = pathlib.Path(__file__).with_name("swagger_ui")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Mapping[str, str] = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
_FILES: Mapping[str, str] = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
# Names are relative: a proxy may serve this listener below a path.
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>oncegate control</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<body>
<div id="calls"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# Without validatorUrl, Swagger UI asks a public service what it thinks of the document.
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#calls",
  deepLinking: true,
  validatorUrl: null,
});
"""

exploring: APIRouter = APIRouter(include_in_schema=False)


@exploring.api_route("/docs", methods=["GET", "HEAD"])
async def show_page() -> Response:
    """Give the page."""
    return HTMLResponse(_PAGE, headers=_HEADERS)


@exploring.api_route("/docs/start.js", methods=["GET", "HEAD"])
async def show_start() -> Response:
    """Give the script that starts Swagger UI."""
    return Response(_START, media_type="text/javascript", headers=_HEADERS)


@exploring.api_route("/docs/{name}", methods=["GET", "HEAD"])
async def show_file(name: str) -> Response:
    """Give one of the two files of Swagger UI that a page loads."""
    if name not in _FILES:
        raise HTTPException(404)
    return FileResponse(FOLDER / name, media_type=_FILES[name], headers=_HEADERS)
