"""The options of a deployment as its edge's stack keeps them: any machine can go on from there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from oncegate.aws.stacks.options import Api, Home, Options
from oncegate.aws.stacks.rotation import Rotation
from oncegate.aws.stacks.template import Json

METADATA = "oncegate"


def options_metadata(options: Options) -> Mapping[str, Json]:
    """Write options for the edge's stack, but for the API's, which stand in its own stack.

    CloudFormation changes a template's metadata only together with a resource, and each of those options changes one
    there. Keys of KMS, which the home's stack knows, are left out of the public ones by the caller.
    """
    written = dataclasses.asdict(options)
    del written["api"]
    return {METADATA: written}


def api_metadata(api: Api) -> Mapping[str, Json]:
    """Write the options of the API, for its stack."""
    return {METADATA: dataclasses.asdict(api)}


def api_of(template: Mapping[str, Any]) -> Api | None:
    """Read the options of the API from its stack's template; None where it has none."""
    given: Mapping[str, Any] | None = template.get("Metadata", {}).get(METADATA)
    if given is None:
        return None
    known = {field.name: given[field.name] for field in dataclasses.fields(Api) if field.name in given}
    lists: Mapping[str, Any] = {name: tuple(known[name]) for name in ("audience", "cors_origins")}
    return Api(**{**known, **lists})


def options_of(template: Mapping[str, Any]) -> Options | None:
    """Read them from the edge's template; None where it has none.

    Raises:
        DeploymentUnfit: they are not of this version.
    """
    given: Mapping[str, Any] | None = template.get("Metadata", {}).get(METADATA)
    if given is None:
        return None
    known = {field.name for field in dataclasses.fields(Options)}
    values = {name: value for name, value in given.items() if name in known}
    values["homes"] = tuple(Home(**each) for each in given["homes"])
    rotation = given["rotation"]
    values["rotation"] = Rotation(tuple(rotation["generations"]), rotation["signing"], rotation["switched_s"])
    for name in ("uploads", "public_keys", "cors_origins"):
        values[name] = tuple(given[name])
    return Options(**values)
