"""The options that a deployment was made with, read from its edge's stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oncegate.aws.deploying.cloud import Cloud, SaidNo
from oncegate.aws.stacks.options import EDGE_REGION, Options
from oncegate.aws.stacks.options_text import options_of


def standing_template(cloud: Cloud, stack: str) -> Mapping[str, Any]:
    """The template of an edge stack, as it was applied.

    Raises:
        SaidNo: there is no such stack.
    """
    body = cloud.call("cloudformation", "get_template", EDGE_REGION, StackName=stack)["TemplateBody"]
    template: Mapping[str, Any] = json.loads(body) if isinstance(body, str) else body
    return template


def standing_options(cloud: Cloud, stack: str) -> Options | None:
    """The options of an edge stack; None where there is none, or it holds none."""
    try:
        return options_of(standing_template(cloud, stack))
    except SaidNo:
        return None
