"""What CloudFormation templates are made of: references, resources and the text that is sent. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

Json = None | bool | int | str | Sequence["Json"] | Mapping[str, "Json"]
Resource = dict[str, Json]

TEMPLATE_BODY_MAX_BYTES = 51_200
"""A longer one is sent by URL."""

KEPT: Mapping[str, Json] = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
"""For what holds data, or what the links of others rest on: it outlives its stack. Except where its making failed: what
was retained then would have taken the name that the next try needs."""


def ref(name: str) -> Json:
    """What a resource or a parameter is known by."""
    return {"Ref": name}


def attribute(name: str, what: str) -> Json:
    """An attribute of a resource."""
    return {"Fn::GetAtt": [name, what]}


def sub(text: str) -> Json:
    """A text with ``${...}`` in it."""
    return {"Fn::Sub": text}


def resource(kind: str, properties: Mapping[str, Json], **more: Json) -> Resource:
    """A resource; ``more`` are its policies of deletion."""
    return {"Type": kind, "Properties": properties, **more}


def statement(effect: str, actions: Sequence[str], resources: Json, **more: Json) -> dict[str, Json]:
    """A statement of a policy."""
    return {"Effect": effect, "Action": list(actions), "Resource": resources, **more}


def policy(*statements: Mapping[str, Json]) -> Json:
    """A policy document."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def template(
    description: str,
    resources: Mapping[str, Resource],
    outputs: Mapping[str, Json],
    parameters: Mapping[str, Json] | None = None,
    metadata: Mapping[str, Json] | None = None,
) -> dict[str, Json]:
    """A whole template."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": description,
        **({"Metadata": metadata} if metadata else {}),
        **({"Parameters": parameters} if parameters else {}),
        "Resources": resources,
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }


def text_of(document: Mapping[str, Json], *, is_pretty: bool = False) -> str:
    """A template as text: the same document gives the same text, on every machine."""
    if is_pretty:
        return json.dumps(document, indent=2, sort_keys=True) + "\n"
    return json.dumps(document, separators=(",", ":"), sort_keys=True)
