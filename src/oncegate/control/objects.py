"""The call that lists the store."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from oncegate.control.access import PartsSeen, scoped_router
from oncegate.control.bodies.forms import PAGE_MAX
from oncegate.control.bodies.observing import ObjectPage, ObjectShown
from oncegate.control.problems import documented
from oncegate.links.instants import instant_text
from oncegate.stores.protocol import ObjectInfo

reading: APIRouter = scoped_router("objects:read", tag="objects")


@reading.get("/v1/objects", responses=documented(422, 503))
async def list_objects(
    parts: PartsSeen,
    prefix: Annotated[str, Query(max_length=1_024, description="Keys that begin with it.")] = "",
    after: Annotated[str, Query(max_length=1_024, description="`next` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
) -> ObjectPage:
    """List the objects of the store, page by page."""
    found = await parts.store.list_objects(prefix, after, limit + 1)
    shown = [_shown(info) for info in found[:limit]]
    return ObjectPage(objects=shown, next=shown[-1].key if len(found) > limit else None)


def _shown(info: ObjectInfo) -> ObjectShown:
    return ObjectShown(
        key=info.key,
        size=info.size_bytes,
        etag=info.etag,
        modified_at=instant_text(info.modified_s),
        content_type=info.content_type,
    )
