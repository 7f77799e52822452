"""What stands of a deployment, part by part: stacks, the function's code, keys, the ledgers' births, behaviours.

Everything is asked and nothing is changed. A part that only looks right is named wrong: a behaviour without the key
group runs the function for links that nobody signed, one with another version decides by other rules.

Source: CloudFront API Reference, GetDistributionConfig.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from oncegate.aws.deploying.cloud import Cloud, SaidNo
from oncegate.aws.deploying.removal import homes_of
from oncegate.aws.deploying.stacks import Found, Stacks
from oncegate.aws.deploying.standing import standing_template
from oncegate.aws.stacks.behaviours import CACHING_DISABLED, ERROR_STATUSES, METHODS
from oncegate.aws.stacks.edge import version_name
from oncegate.aws.stacks.options import EDGE_REGION
from oncegate.aws.stacks.options_text import options_of
from oncegate.ledgers.dynamodb.items import BORN_KEY, number_of
from oncegate.links.instants import instant_text

TRIGGERS = ("viewer-request", "origin-response")


class Check(NamedTuple):
    """One part.

    Attributes:
        part: what it is.
        words: what was found.
        is_well: whether it is as it is to be.
    """

    part: str
    words: str
    is_well: bool = True


def checks_of(cloud: Cloud, name: str, edge: Found, *, code: str, distribution: str = "") -> Iterator[Check]:
    """Look at every part of a deployment.

    Args:
        cloud: by which AWS is asked.
        name: of the deployment.
        edge: its edge's stack.
        code: of the edge function, as this version has it.
        distribution: id of the distribution that carries it, where that is none of the stack's.
    """
    yield Check(
        "edge",
        f"{EDGE_REGION}  {edge.status}  {edge.outputs.get('Domain', '')}",
        is_well=edge.status.endswith("_COMPLETE"),
    )
    yield _function(cloud, name, edge, code)
    yield from _keys(cloud, edge)
    yield from _homes(cloud, name, edge)
    yield from _api(cloud, name, edge)
    distribution_id = distribution or edge.outputs.get("DistributionId", "")
    if not distribution_id:
        yield Check(
            "behaviour", "no distribution is the stack's: name the one that carries it by --distribution", is_well=False
        )
        return
    try:
        found = cloud.call("cloudfront", "get_distribution_config", EDGE_REGION, Id=distribution_id)
    except SaidNo as no:
        yield Check("behaviour", f"distribution {distribution_id}: {no.code}", is_well=False)
        return
    yield from _behaviours(found["DistributionConfig"], edge.outputs, is_own=not distribution)


def _function(cloud: Cloud, name: str, edge: Found, code: str) -> Check:
    """Whether the function that stands is the one of this version and these options."""
    template = standing_template(cloud, f"{name}-edge")
    options = options_of(template)
    wanted = "" if options is None else version_name(options, code)
    version = edge.outputs["FunctionVersion"]
    words = "as of this version" if wanted in template["Resources"] else "of another version: deploy again"
    try:
        stands = cloud.call("lambda", "get_function_configuration", EDGE_REGION, FunctionName=version)
    except SaidNo as no:
        return Check("function", f"{version}  {no.code}: it was deleted, and no link opens", is_well=False)
    digest = str(stands.get("Description", "")).rpartition(", ")[2]
    is_same = wanted in template["Resources"]
    return Check("function", f"{version}  code {digest}, {words}", is_well=is_same)


def _api(cloud: Cloud, name: str, edge: Found) -> Iterator[Check]:
    """Whether the API stands well, where there is one."""
    region = homes_of(edge)[0].region
    if (found := Stacks(cloud, name, stage=str).find(f"{name}-api", region)) is not None:
        words = f"{region}  {found.status}  {found.outputs.get('ApiEndpoint', '')}"
        yield Check("api", words, is_well=found.is_made and found.status.endswith("_COMPLETE"))


def _keys(cloud: Cloud, edge: Found) -> Iterator[Check]:
    """Whether the key group trusts the keys of the stack, and no other."""
    group_id = edge.outputs["KeyGroup"]
    ours = [key_id for output, key_id in edge.outputs.items() if output.startswith("KeyId")]
    try:
        group = cloud.call("cloudfront", "get_key_group", EDGE_REGION, Id=group_id)["KeyGroup"]["KeyGroupConfig"]
    except SaidNo as no:
        yield Check("keys", f"key group {group_id}: {no.code}", is_well=False)
        return
    for key_id in ours:
        is_in = key_id in group["Items"]
        yield Check(
            "key", f"{key_id}  {'trusted' if is_in else 'not in the key group: its links are refused'}", is_well=is_in
        )
    for key_id in group["Items"]:
        if key_id not in ours:
            yield Check(
                "key", f"{key_id}  trusted, and none of this deployment's: whoever has it makes links", is_well=False
            )


def _homes(cloud: Cloud, name: str, edge: Found) -> Iterator[Check]:
    stacks = Stacks(cloud, name, stage=str)
    for home in homes_of(edge):
        found = stacks.find(f"{name}-home-{home.name}" if home.name else f"{name}-home", home.region)
        status = found.status if found else "the stack is missing"
        born = _birth(cloud, name, home.region)
        words = f"{home.region}  {status}  {born or 'no birth is noted: no link opens; deploy again'}  {home.name}"
        is_well = found is not None and found.status.endswith("_COMPLETE") and bool(born)
        yield Check("home", words.rstrip(), is_well=is_well)


def _birth(cloud: Cloud, table: str, region: str) -> str:
    """When a ledger was created, in words; empty where nobody noted it."""
    try:
        item = cloud.call("dynamodb", "get_item", region, TableName=table, Key=BORN_KEY, ConsistentRead=True).get(
            "Item"
        )
        return f"born {instant_text(number_of(item or {}, 'ms') // 1000)}"
    except (SaidNo, KeyError, ValueError):
        return ""


def _behaviours(config: Mapping[str, Any], outputs: Mapping[str, str], *, is_own: bool) -> Iterator[Check]:
    """Which behaviours carry the function, and what is wrong with each; and the errors that CloudFront would keep.

    A distribution that is no stack's may have behaviours of its own, which are none of this deployment's.
    """
    groups = {each["Id"] for each in _items(config.get("OriginGroups"))}
    carrying = 0
    for pattern, found in [
        ("*", config["DefaultCacheBehavior"]),
        *((each["PathPattern"], each) for each in _items(config.get("CacheBehaviors"))),
    ]:
        wrong = list(_wrong(found, outputs, groups))
        carries = outputs["FunctionVersion"] in (each["LambdaFunctionARN"] for each in _functions(found))
        carrying += carries
        if not carries and not is_own:
            yield Check("behaviour", f"{pattern}  not of this deployment")
        else:
            yield Check("behaviour", f"{pattern}  {'; '.join(wrong) or 'as it is to be'}", is_well=not wrong)
    if not carrying:
        yield Check("behaviour", "none runs the function: links open as often as their signature says", is_well=False)
    kept = _errors_kept(config)
    if carrying and kept:
        yield Check(
            "errors", f"{', '.join(map(str, kept))} are kept for 10 s: such an answer swallows a use", is_well=False
        )


def _wrong(found: Mapping[str, Any], outputs: Mapping[str, str], origin_groups: set[str]) -> Iterator[str]:
    """What is not as ``aws/stacks/behaviours.py`` writes it."""
    trusted: Mapping[str, Any] = found.get("TrustedKeyGroups") or {}
    if not trusted.get("Enabled") or list(_items(trusted)) != [outputs["KeyGroup"]]:
        yield "it does not trust this key group alone"
    by_trigger = {each["EventType"]: each for each in _functions(found)}
    for trigger in TRIGGERS:
        if by_trigger.get(trigger, {}).get("LambdaFunctionARN") != outputs["FunctionVersion"]:
            yield f"no {trigger} by this version"
    if found.get("CachePolicyId") != CACHING_DISABLED:
        yield "it caches"
    if found.get("OriginRequestPolicyId") not in (outputs["DownloadPolicy"], outputs.get("UploadPolicy")):
        yield "another request policy"
    if found.get("ResponseHeadersPolicyId") != outputs["HeadersPolicy"]:
        yield "another policy for headers of answers"
    if found.get("ViewerProtocolPolicy") != "https-only":
        yield "it takes links over http"
    if found.get("Compress"):
        yield "it compresses"
    if not set(_items(found.get("AllowedMethods"))) >= set(METHODS):
        yield "the button and uploads need every method"
    if found.get("TargetOriginId") in origin_groups:
        yield "an origin group runs the second trigger twice"


def _functions(found: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return _items(found.get("LambdaFunctionAssociations"))


def _errors_kept(config: Mapping[str, Any]) -> Sequence[int]:
    not_kept = {
        each["ErrorCode"] for each in _items(config.get("CustomErrorResponses")) if not each.get("ErrorCachingMinTTL")
    }
    return [status for status in ERROR_STATUSES if status not in not_kept]


def _items(listed: Mapping[str, Any] | None) -> Sequence[Any]:
    return (listed or {}).get("Items") or ()
