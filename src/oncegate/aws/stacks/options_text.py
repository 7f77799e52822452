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
    """Write options; keys of KMS, which the home's stack knows, are left out of the public ones by the caller."""
    # what is not there is left out: CloudFormation takes no null
    return {METADATA: {name: value for name, value in dataclasses.asdict(options).items() if value is not None}}


def options_of(template: Mapping[str, Any]) -> Options | None:
    """Read them from a template; None where it has none.

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
    if (api := given.get("api")) is not None:
        lists: Mapping[str, Any] = {name: tuple(api[name]) for name in ("audience", "cors_origins")}
        values["api"] = Api(**{**api, **lists})
    return Options(**values)
