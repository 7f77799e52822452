"""A bucket's policy as S3 evaluates it for CloudFront: an Allow must fit, and no Deny. The conditions that the stacks use.

A condition that is not known is refused by name: what cannot be evaluated must not let anybody in.

Source: IAM User Guide, "Policy evaluation logic", "IAM JSON policy elements: Condition operators".
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from oncegate.aws.referee.distribution import NotModelled

CLOUDFRONT = "cloudfront.amazonaws.com"


def allows(
    policy: Mapping[str, Any], *, action: str, resource: str, context: Mapping[str, str], service: str = CLOUDFRONT
) -> bool:
    """Say whether a policy lets a service do something.

    Args:
        policy: the document.
        action: such as ``s3:GetObject``.
        resource: ARN of the object.
        context: condition keys in lower case; one that is absent was not in the request.
        service: who asks; empty: somebody without credentials.
    """
    fitting = [
        each
        for each in policy["Statement"]
        if _is_meant(each["Principal"], service)
        and any(fnmatch.fnmatchcase(action, pattern) for pattern in _listed(each["Action"]))
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in _listed(each["Resource"]))
        and _holds(each.get("Condition", {}), context)
    ]
    effects = {each["Effect"] for each in fitting}
    return effects == {"Allow"}


def _listed(value: Any) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


def _is_meant(principal: Any, service: str) -> bool:
    return principal == "*" or (bool(service) and service in _listed(principal.get("Service", [])))


def _holds(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    return all(
        _fits(operator, context.get(name.lower()), _listed(wanted if isinstance(wanted, list) else str(wanted)))
        for operator, pairs in condition.items()
        for name, wanted in pairs.items()
    )


def _fits(operator: str, found: str | None, wanted: Sequence[str]) -> bool:
    match operator:
        case "StringEquals":
            return found in wanted
        case "Bool":
            return found in [each.lower() for each in wanted]
        case "Null":
            return str(found is None).lower() in [each.lower() for each in wanted]
        case _:
            raise NotModelled(f"the referee does not know the condition {operator}")
