"""The options that a deployment was made with, read from the stacks of its edge and its API."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from oncegate.aws.deploying.cloud import Cloud, SaidNo
from oncegate.aws.stacks.options import EDGE_REGION, Options
from oncegate.aws.stacks.options_text import api_of, options_of


def standing_template(cloud: Cloud, stack: str, region: str = EDGE_REGION) -> Mapping[str, Any]:
    """The template of a stack, as it was applied.

    Raises:
        SaidNo: there is no such stack.
    """
    body = cloud.call("cloudformation", "get_template", region, StackName=stack)["TemplateBody"]
    template: Mapping[str, Any] = json.loads(body) if isinstance(body, str) else body
    return template


def standing_options(cloud: Cloud, stack: str) -> Options | None:
    """The options of a deployment by its edge's stack; None where there is none, or it holds none."""
    try:
        options = options_of(standing_template(cloud, stack))
    except SaidNo:
        return None
    if options is None:
        return None
    try:
        api = api_of(standing_template(cloud, options.api_stack, options.first.region))
    except SaidNo:
        return options
    return dataclasses.replace(options, api=api)
