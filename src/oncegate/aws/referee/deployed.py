"""A deployment as the referee serves it: its own template, code, keys and bucket, read from AWS or an emulator.

Against AWS itself the bucket is asked with the caller's credentials, in place of the distribution's, and the function runs
here with the same: nothing is changed there but what links change.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import urllib.request
import zipfile
from collections.abc import Mapping
from typing import Any

from oncegate.aws.deploying.cloud import Cloud, SaidNo
from oncegate.aws.deploying.standing import standing_template
from oncegate.aws.referee.buckets import ServerBucket
from oncegate.aws.referee.distribution import Distribution, read_template
from oncegate.aws.referee.served import Served
from oncegate.aws.referee.site import Site
from oncegate.aws.stacks.edge import CLAIM_KEY
from oncegate.aws.stacks.options import EDGE_REGION
from oncegate.aws_requests.credentials import ChainCredentials


def serve_deployed(cloud: Cloud, name: str, *, port: int = 0) -> Served:
    """Serve a deployment on localhost.

    Args:
        cloud: by which AWS is asked.
        name: of the deployment.
        port: 0: a free one.

    Raises:
        DeploymentUnfit: AWS cannot be asked.
        NotModelled: its template asks for what the referee does not know.
        SaidNo: there is no such deployment.
    """
    distribution, outputs = _read(cloud, f"{name}-edge")
    region = outputs["Homes"].partition(",")[0].rpartition("=")[2]
    credentials = ChainCredentials().look_up(os.environ)
    endpoint = cloud.endpoint("s3", region)
    bucket = ServerBucket(endpoint, distribution.bucket, credentials=credentials, region=region)
    environ = {
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret,
        **({"AWS_SESSION_TOKEN": credentials.token} if credentials.token else {}),
        **{each: os.environ[each] for each in _ENDPOINTS if each in os.environ},
    }

    def policy() -> Mapping[str, Any]:
        try:
            text = cloud.call("s3", "get_bucket_policy", region, Bucket=distribution.bucket)["Policy"]
        except SaidNo:
            return {"Statement": []}  # without a policy the bucket lets in nobody
        return json.loads(text)

    site = Site(distribution, bucket, bucket_policy=policy, environ=environ)
    return Served(site, (*distribution.aliases, distribution.domain)[0], port=port)


_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB")
"""Lambda@Edge has no variables; an emulator is found by these alone."""


def _read(cloud: Cloud, stack: str) -> tuple[Distribution, Mapping[str, str]]:
    """The distribution of an edge stack, with the code that is published and not the one that was sent."""
    template = standing_template(cloud, stack)
    (described,) = cloud.call("cloudformation", "describe_stacks", EDGE_REGION, StackName=stack)["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}
    listed = cloud.call("cloudformation", "describe_stack_resources", EDGE_REGION, StackName=stack)
    ids = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in listed["StackResources"]}
    distribution = read_template(
        template,
        parameters={CLAIM_KEY: ""},
        ids={**ids, "Domain": outputs["Domain"]},
        account=outputs["DistributionArn"].split(":")[4],
    )
    code = _code_of(cloud, outputs["FunctionVersion"])
    behaviours = [
        dataclasses.replace(each, triggers=dict.fromkeys(each.triggers, code)) for each in distribution.behaviours
    ]
    return dataclasses.replace(distribution, behaviours=behaviours), outputs


def _code_of(cloud: Cloud, version: str) -> str:
    place = cloud.call("lambda", "get_function", EDGE_REGION, FunctionName=version)["Code"]["Location"]
    with urllib.request.urlopen(place, timeout=30) as answer:  # noqa: S310  a URL that Lambda gave
        packed = zipfile.ZipFile(io.BytesIO(answer.read()))
    return packed.read("index.py").decode()
