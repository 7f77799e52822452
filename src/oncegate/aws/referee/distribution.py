"""A distribution as the referee serves it: read from a template of the stack ``edge``, or made of keys and objects.

What is not modelled is refused by name where a template asks for it: origin groups, cache policies other than
CachingDisabled, real-time logs, WAF, geographic restrictions, CloudFront Functions, field-level encryption.
Never modelled, whatever a template says: TLS, HTTP/2 and HTTP/3, caches, collapsed requests, WebSockets, quotas other
than those named in ``functions``, IAM (a function's role), retries to the bucket, and where in the world a viewer is.

Source: AWS::CloudFront::Distribution, CloudFormation reference.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oncegate.aws.stacks.behaviours import CACHING_DISABLED
from oncegate.unfit import Unfit

ERROR_KEPT_S = 10
"""How long CloudFront keeps an error where nothing else is said, whatever the cache policy says."""

_NOT_MODELLED = ("OriginGroups", "WebACLId", "Logging", "DefaultRootObject", "ContinuousDeploymentPolicyId")
_NOT_MODELLED_OF_BEHAVIOURS = (
    "FunctionAssociations",
    "FieldLevelEncryptionId",
    "RealtimeLogConfigArn",
    "ForwardedValues",
)


class NotModelled(Unfit):
    """A template asks for what the referee does not know; it would judge by a distribution that is not deployed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """A behaviour.

    Attributes:
        pattern: of paths, without a slash in front; ``*``: the default one.
        methods: allowed ones.
        viewer_protocol: ``https-only``, ``redirect-to-https`` or ``allow-all``.
        key_ids: of the trusted key groups; None: everybody is served.
        headers: names in lower case that reach the bucket beside those that always do; None: all but ``host``.
        queries: names of query parameters that reach the bucket; None: all.
        triggers: code of the function by event type.
        answer_headers: name and value that answers get, and whether they win over the answer's own.
    """

    pattern: str = "*"
    methods: Sequence[str] = ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE")
    viewer_protocol: str = "https-only"
    key_ids: Sequence[str] | None = ()
    headers: Sequence[str] | None = ()
    queries: Sequence[str] | None = ()
    triggers: Mapping[str, str] = field(default_factory=dict[str, str])
    answer_headers: Sequence[tuple[str, str, bool]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A distribution.

    Attributes:
        domain: what viewers call it.
        arn: as the bucket's policy names it.
        keys: PEM texts by key id, of all that behaviours trust.
        behaviours: the most special first, the default last.
        bucket: name of the origin.
        folder: origin path.
        is_signed_for: whether OAC signs requests to the bucket.
        error_ttls_s: how long an error is kept, by status; others ``ERROR_KEPT_S``.
        aliases: further domains.
    """

    domain: str
    arn: str
    keys: Mapping[str, str]
    behaviours: Sequence[Behaviour]
    bucket: str
    folder: str = ""
    is_signed_for: bool = True
    error_ttls_s: Mapping[int, int] = field(default_factory=dict[int, int])
    aliases: Sequence[str] = ()

    def behaviour_of(self, path: str) -> Behaviour:
        """The first whose pattern fits a path; case counts."""
        found = (each for each in self.behaviours if fnmatch.fnmatchcase(path.lstrip("/"), each.pattern.lstrip("/")))
        return next(found)


def read_template(
    template: Mapping[str, Any],
    *,
    parameters: Mapping[str, str],
    ids: Mapping[str, str] | None = None,
    account: str = "111122223333",
) -> Distribution:
    """Read the distribution of a template.

    Args:
        template: of the stack ``edge``.
        parameters: values of its parameters.
        ids: what deployed resources are known by, by logical id; others go by their logical id.
        account: that the distribution belongs to.

    Raises:
        NotModelled: it asks for what the referee does not know.
    """
    reader = _Reader(template["Resources"], {**parameters, **(ids or {}), "AWS::AccountId": account})
    ((logical_id, resource),) = reader.of("AWS::CloudFront::Distribution")
    config = resource["DistributionConfig"]
    for name in _NOT_MODELLED:
        if config.get(name):
            raise NotModelled(f"the referee does not model {name}", where=logical_id)
    (origin,) = config["Origins"]
    ttls = {each["ErrorCode"]: each["ErrorCachingMinTTL"] for each in config.get("CustomErrorResponses", ())}
    distribution_id = reader.text({"Ref": logical_id})
    return Distribution(
        domain=(ids or {}).get("Domain", f"{distribution_id.lower()}.cloudfront.net"),
        arn=f"arn:aws:cloudfront::{account}:distribution/{distribution_id}",
        keys=reader.keys(),
        behaviours=[
            *(reader.behaviour(each) for each in config.get("CacheBehaviors", ())),
            reader.behaviour(config["DefaultCacheBehavior"]),
        ],
        bucket=reader.text(origin["DomainName"]).partition(".s3.")[0],
        folder=origin.get("OriginPath", ""),
        is_signed_for=bool(origin.get("OriginAccessControlId")),
        error_ttls_s=ttls,
        aliases=tuple(config.get("Aliases", ())),
    )


class _Reader:
    """Looks up what a template refers to."""

    def __init__(self, resources: Mapping[str, Any], values: Mapping[str, str]) -> None:
        self._resources = resources
        self._values = {**values, "AWS::Partition": "aws"}

    def of(self, kind: str) -> list[tuple[str, Any]]:
        """Logical ids and properties of all resources of a kind."""
        return [(name, each["Properties"]) for name, each in self._resources.items() if each["Type"] == kind]

    def named(self, reference: Any, kind: str) -> Any:
        """The properties of the resource that a reference names."""
        match reference:
            case {"Ref": str(name)}:
                resource = self._resources.get(name)
            case _:
                resource = None
        if resource is None or resource["Type"] != kind:
            raise NotModelled(f"the referee looks for an {kind} in the same template, not {reference}")
        return resource["Properties"]

    def text(self, value: Any) -> str:
        """A value as text: references, joined and substituted texts are put together."""
        match value:
            case str():
                return value
            case {"Ref": str(name)}:
                return self._values.get(name, name)
            case {"Fn::Join": [str(separator), parts]}:
                return separator.join(self.text(part) for part in parts)
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([^}]+)\}", lambda found: self._values.get(found[1], found[1]), text)
            case _:
                raise NotModelled(f"the referee cannot read {value}")

    def keys(self) -> Mapping[str, str]:
        """All public keys by id."""
        found = self.of("AWS::CloudFront::PublicKey")
        return {self._values.get(name, name): each["PublicKeyConfig"]["EncodedKey"] for name, each in found}

    def behaviour(self, behaviour: Mapping[str, Any]) -> Behaviour:
        """One behaviour."""
        for name in _NOT_MODELLED_OF_BEHAVIOURS:
            if behaviour.get(name):
                raise NotModelled(f"the referee does not model {name}")
        if behaviour.get("CachePolicyId") != CACHING_DISABLED:
            raise NotModelled("the referee models no cache: the cache policy is not CachingDisabled")
        policy = self.named(behaviour["OriginRequestPolicyId"], "AWS::CloudFront::OriginRequestPolicy")
        config = policy["OriginRequestPolicyConfig"]
        return Behaviour(
            pattern=behaviour.get("PathPattern", "*"),
            methods=tuple(behaviour["AllowedMethods"]),
            viewer_protocol=behaviour["ViewerProtocolPolicy"],
            key_ids=self._trusted(behaviour.get("TrustedKeyGroups")),
            headers=self._listed(config["HeadersConfig"], "HeaderBehavior", "Headers"),
            queries=self._listed(config["QueryStringsConfig"], "QueryStringBehavior", "QueryStrings"),
            triggers={
                each["EventType"]: self._code(each["LambdaFunctionARN"])
                for each in behaviour.get("LambdaFunctionAssociations", ())
            },
            answer_headers=self._answer_headers(behaviour.get("ResponseHeadersPolicyId")),
        )

    def _trusted(self, groups: Any) -> Sequence[str] | None:
        if not groups:
            return None
        found = [self.named(group, "AWS::CloudFront::KeyGroup")["KeyGroupConfig"]["Items"] for group in groups]
        return tuple(self.text(item) for items in found for item in items)

    def _listed(self, config: Mapping[str, Any], behaviour: str, names: str) -> Sequence[str] | None:
        if config[behaviour] in ("allViewer", "all"):
            return None
        if config[behaviour] not in ("whitelist", "none"):
            raise NotModelled(f"the referee does not model {behaviour} {config[behaviour]}")
        lower = behaviour == "HeaderBehavior"
        return tuple(name.lower() if lower else name for name in config.get(names, ()))

    def _code(self, version: Any) -> str:
        function = self.named(self.named(version, "AWS::Lambda::Version")["FunctionName"], "AWS::Lambda::Function")
        return self.text(function["Code"]["ZipFile"])

    def _answer_headers(self, reference: Any) -> Sequence[tuple[str, str, bool]]:
        if not reference:
            return ()
        policy = self.named(reference, "AWS::CloudFront::ResponseHeadersPolicy")["ResponseHeadersPolicyConfig"]
        security: Mapping[str, Any] = policy.get("SecurityHeadersConfig", {})
        found = [(each["Header"], each["Value"], each["Override"]) for each in policy["CustomHeadersConfig"]["Items"]]
        for name, header, value in _SECURITY:
            if name in security:
                found.append((header, value.format(**security[name]), security[name]["Override"]))
        return found


_SECURITY = (
    ("ContentTypeOptions", "X-Content-Type-Options", "nosniff"),
    ("ContentSecurityPolicy", "Content-Security-Policy", "{ContentSecurityPolicy}"),
    ("ReferrerPolicy", "Referrer-Policy", "{ReferrerPolicy}"),
    ("StrictTransportSecurity", "Strict-Transport-Security", "max-age={AccessControlMaxAgeSec}"),
)
