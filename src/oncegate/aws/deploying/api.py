"""The API's stack: planned and applied when the others stand, its code laid before it; or taken away.

The bundle that stands is kept in its bucket: CloudFormation takes a step back by the code of before. Others are removed
when the stack stands.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping

from oncegate.aws.deploying.bundle import Bundle
from oncegate.aws.deploying.cloud import Cloud, SaidNo
from oncegate.aws.deploying.configuration import configuration_text
from oncegate.aws.deploying.plans import Plan
from oncegate.aws.deploying.stacks import Stacks
from oncegate.aws.stacks import api_variables
from oncegate.aws.stacks.api import (
    CODE_BUCKET,
    CODE_KEY,
    CONFIGURATION,
    PUBLIC_KEYS,
    SECRET,
    SIGNING_KEY,
    api_template,
    signing_spec,
)
from oncegate.aws.stacks.edge import key_output
from oncegate.aws.stacks.options import DeploymentUnfit, Options

_TO_COME = "to come"


class ApiStack:
    """The control API of one deployment.

    Args:
        cloud: by which AWS is asked.
        stacks: of the deployment.
        bundle: the function's code; None: the one that stands.
    """

    def __init__(self, cloud: Cloud, stacks: Stacks, bundle: Bundle | None) -> None:
        self._cloud = cloud
        self._stacks = stacks
        self._bundle = bundle

    def plan(
        self, options: Options, *, home: Mapping[str, str], edge: Mapping[str, str], pems: tuple[str, ...]
    ) -> Plan:
        """Say what applying it would do.

        Args:
            options: of the deployment.
            home: outputs of the first home's stack; empty: it is to come.
            edge: outputs of the edge's stack; empty: it is to come.
            pems: public keys that are trusted.

        Raises:
            DeploymentUnfit: there is no code for a function that is new.
        """
        region = options.first.region
        stands = self._stacks.find(options.api_stack, region)
        if self._bundle is None and (stands is None or not stands.is_made):
            raise DeploymentUnfit("there is no code for the API yet", remedy="run 'oncegate aws deploy'", where="--api")
        is_known = bool(home) and bool(edge) and all(key_output(pem) in edge for pem in pems)
        given: dict[str, str | None] = dict(_values(options, home, edge, pems) if is_known else _values_to_come())
        given[CODE_BUCKET] = home.get("CodeBucket", _TO_COME)
        given[CODE_KEY] = None if self._bundle is None else self._bundle.key
        drawn = {SECRET: secrets.token_urlsafe(32)}
        return self._stacks.plan(options.api_stack, region, api_template(options), drawn, given)

    def apply(self, options: Options, plan: Plan) -> Mapping[str, str]:
        """Lay the code, and carry out a plan; return what the stack puts out."""
        bucket, key = plan.parameters[CODE_BUCKET], plan.parameters[CODE_KEY]
        is_changing = bool(plan.changes) and bool(bucket) and bool(key)
        if is_changing:
            self._lay(str(bucket), str(key), options.first.region)
        outputs = self._stacks.apply(plan)
        if is_changing:
            empty_bucket(self._cloud, str(bucket), options.first.region, but=str(key))
        return outputs

    def _lay(self, bucket: str, key: str, region: str) -> None:
        if self._bundle is None or _lies(self._cloud, bucket, key, region):
            return
        content = self._bundle.content()
        self._cloud.call("s3", "put_object", region, Bucket=bucket, Key=key, Body=content)


def empty_bucket(cloud: Cloud, bucket: str, region: str, *, but: str = "") -> None:
    """Remove bundles from the bucket that they lie in, which holds nothing else.

    Args:
        cloud: by which AWS is asked.
        bucket: its name.
        region: where it is.
        but: the one that stays; empty: none.
    """
    try:
        listed = cloud.call("s3", "list_objects_v2", region, Bucket=bucket)
    except SaidNo as no:
        if no.code == "NoSuchBucket":
            return
        raise DeploymentUnfit(f"bucket {bucket}: {no}") from None
    for each in listed.get("Contents", ()):
        if each["Key"] != but:
            cloud.call("s3", "delete_object", region, Bucket=bucket, Key=each["Key"])


def _lies(cloud: Cloud, bucket: str, key: str, region: str) -> bool:
    listed = cloud.call("s3", "list_objects_v2", region, Bucket=bucket, Prefix=key)
    return any(each["Key"] == key for each in listed.get("Contents", ()))


def _values(
    options: Options, home: Mapping[str, str], edge: Mapping[str, str], pems: tuple[str, ...]
) -> Mapping[str, str]:
    signing = signing_spec(options, home)
    domain = options.domain or edge["Domain"]
    values = {
        CONFIGURATION: configuration_text(options, domain=domain, signing=signing),
        PUBLIC_KEYS: json.dumps({edge[key_output(pem)]: pem for pem in pems}, sort_keys=True, separators=(",", ":")),
        SIGNING_KEY: signing.partition(":")[2],
    }
    length = sum(len(text.encode()) for text in (values[CONFIGURATION], values[PUBLIC_KEYS]))
    names = sum(len(name) for name in _VARIABLES) + _SECRET_BYTES
    if length + names > api_variables.VARIABLES_MAX_BYTES:
        raise DeploymentUnfit(
            f"configuration and public keys of the API's function have {length} bytes; its variables hold "
            f"{api_variables.VARIABLES_MAX_BYTES}",
            remedy="fewer keys of RSA, or fewer homes",
            where="--api",
        )
    return values


_VARIABLES = (
    *(api_variables.CONFIGURATION, api_variables.PUBLIC_KEYS),
    *(api_variables.AUTHORIZER, "iam", api_variables.SECRET),
)
_SECRET_BYTES = 43


def _values_to_come() -> Mapping[str, str]:
    return dict.fromkeys((CONFIGURATION, PUBLIC_KEYS, SIGNING_KEY), _TO_COME)
