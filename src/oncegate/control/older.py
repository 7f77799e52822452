"""The calls of the published one-time designs, with their paths and shapes, for people who come from those.

What differs on purpose: each needs a token; links open once; a key is escaped as it must be, and one that no link
could hold is refused in place of being signed; the list is of all objects and not of the first thousand.

Source: the published designs themselves; docs/reference/http.md.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import PlainTextResponse, Response

from oncegate.control.access import CallerSeen, PartsSeen, scoped_router
from oncegate.control.bodies.forms import OperationName
from oncegate.control.bodies.making import LinkOrder
from oncegate.control.bodies.older import FileWanted, S3Object, SignedUrlGiven, UrlGiven
from oncegate.control.callers import Caller
from oncegate.control.issuing import issue_link
from oncegate.control.parts import ControlParts
from oncegate.control.problems import documented
from oncegate.links.instants import instant_text
from oncegate.stores.protocol import ObjectInfo

DOWNLOAD_LIFETIME_S = 300
UPLOAD_LIFETIME_S = 900
FILE_LIFETIME_S = 12 * 3_600
OBJECTS_MAX = 10_000
TRUNCATED_HEADER = "X-Oncegate-Truncated"
_PAGE = 1_000

reading: APIRouter = scoped_router("objects:read", tag="older calls")
writing: APIRouter = scoped_router("links:write", tag="older calls")

_BAD_REQUEST: dict[int | str, dict[str, Any]] = {
    400: {
        "description": "`Bad request`, where no `key` is named.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}
_TRUNCATED: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            TRUNCATED_HEADER: {
                "description": f"Only where there are more than {OBJECTS_MAX} objects: how many are listed.",
                "schema": {"type": "integer"},
            }
        }
    }
}


@writing.get("/get-url", response_model=UrlGiven, responses={**documented(422), **_BAD_REQUEST})
async def get_url(
    parts: PartsSeen, caller: CallerSeen, key: Annotated[str, Query(max_length=1_024)] = ""
) -> UrlGiven | Response:
    """Make a download link for five minutes."""
    if not key:
        return PlainTextResponse("Bad request", 400)
    return UrlGiven(url=await _url_of(parts, caller, key, DOWNLOAD_LIFETIME_S))


@writing.get("/url", response_class=PlainTextResponse, responses=documented())
async def url(parts: PartsSeen, caller: CallerSeen) -> Response:
    """Make an upload link for a quarter of an hour, to a fresh key."""
    name = uuid.UUID(bytes=parts.random_bytes(16), version=4)
    return PlainTextResponse(await _url_of(parts, caller, f"uploads/{name}", UPLOAD_LIFETIME_S, operation="put"))


# the published URLs have the stage of an API Gateway before their paths
@writing.post("/v1/urls", status_code=201, responses=documented(422))
@writing.post("/urls", status_code=201, responses=documented(422))
async def urls(parts: PartsSeen, caller: CallerSeen, body: FileWanted) -> SignedUrlGiven:
    """Make a download link for twelve hours."""
    return SignedUrlGiven(signedUrl=await _url_of(parts, caller, body.file, FILE_LIFETIME_S))


@reading.get("/v1/s3objects", responses={**documented(503), **_TRUNCATED})
@reading.get("/s3objects", responses={**documented(503), **_TRUNCATED})
async def s3objects(parts: PartsSeen, response: Response) -> list[S3Object]:
    """List all objects as listObjectsV2's Contents, up to 10,000; `GET /v1/objects` has pages and no such limit."""
    found: list[S3Object] = []
    async for info in _all_objects(parts):
        if len(found) == OBJECTS_MAX:
            response.headers[TRUNCATED_HEADER] = str(OBJECTS_MAX)
            break
        found.append(_shown(info))
    return found


async def _url_of(
    parts: ControlParts, caller: Caller, key: str, lifetime_s: int, *, operation: OperationName = "get"
) -> str:
    # These callers cannot ask for a shorter life, so here max_lifetime shortens it. Elsewhere it would be refused.
    lifetime_s = min(lifetime_s, parts.settings.links.max_lifetime_s)
    order = LinkOrder(key=key, operation=operation, expires_in=lifetime_s)
    return (await issue_link(parts, order, caller=caller)).url


async def _all_objects(parts: ControlParts) -> AsyncIterator[ObjectInfo]:
    after = ""
    while True:
        page = await parts.store.list_objects("", after, _PAGE)
        for info in page:
            yield info
        if len(page) < _PAGE:
            return
        after = page[-1].key


def _shown(info: ObjectInfo) -> S3Object:
    return S3Object(
        Key=info.key,
        LastModified=instant_text(info.modified_s).replace("Z", ".000Z"),
        ETag=info.etag,
        Size=info.size_bytes,
        StorageClass="STANDARD",
    )
