"""Taking a deployment away: the stacks go, what holds data stays unless each is named.

The edge function is retained by its stack, because CloudFront's replicas of it go hours after the distribution; until
then it cannot be deleted. Running this again removes what AWS has let go of since.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from oncegate.aws.deploying.api import empty_bucket
from oncegate.aws.deploying.cloud import Cloud, SaidNo
from oncegate.aws.deploying.stacks import Found, Stacks
from oncegate.aws.stacks.options import EDGE_REGION, DeploymentUnfit, Home

RETAINED = ("table", "bucket", "key")
KEY_GOES_AFTER_DAYS = 30


def homes_of(edge: Found) -> Sequence[Home]:
    """The homes that an edge stack was made for."""
    pairs = (each.partition("=") for each in edge.outputs.get("Homes", "").split(",") if each)
    return [Home(region, name) for name, _, region in pairs]


class Removal:
    """Takes a deployment away.

    Args:
        cloud: by which AWS is asked.
        name: of the deployment.
        say: is told of each step.
    """

    def __init__(self, cloud: Cloud, name: str, *, say: Callable[[str], None]) -> None:
        self._cloud = cloud
        self._name = name
        self._say = say
        self._stacks = Stacks(cloud, name, stage=_never)

    def run(self, homes: Sequence[Home], named: Collection[str]) -> None:
        """Delete the stacks, and of what is retained what is named.

        Args:
            homes: of the deployment, the first first.
            named: of ``RETAINED``.

        Raises:
            DeploymentUnfit: a bucket that is to go holds objects.
        """
        stacks = [f"{self._name}-home-{home.name}" if home.name else f"{self._name}-home" for home in homes]
        found = self._stacks.find(stacks[0], homes[0].region)
        bucket = found.outputs.get("BucketName", "") if found else ""
        keys = [arn for name, arn in found.outputs.items() if name.startswith("SigningKeyArn")] if found else []
        self._delete(f"{self._name}-api", homes[0].region)
        if found and (code := found.outputs.get("CodeBucket")):
            empty_bucket(self._cloud, code, homes[0].region)
        self._delete(f"{self._name}-edge", EDGE_REGION)
        self._delete_function()
        for home, stack in zip(homes, stacks, strict=True):
            self._delete(stack, home.region)
            if "table" in named:
                self._delete_table(home.region)
        if bucket and "bucket" in named:
            self._delete_bucket(bucket, homes[0].region)
        for key in keys if "key" in named else ():
            self._retire_key(key, homes[0].region)

    def _delete(self, stack: str, region: str) -> None:
        if self._stacks.find(stack, region) is not None:
            self._stacks.delete(stack, region)
            self._say(f"{stack} in {region}: deleted")

    def _delete_function(self) -> None:
        try:
            self._cloud.call("lambda", "delete_function", EDGE_REGION, FunctionName=f"{self._name}-edge")
            self._say(f"function {self._name}-edge: deleted")
        except SaidNo as no:
            if no.code != "ResourceNotFoundException":
                self._say(
                    f"function {self._name}-edge stays: its replicas go hours after the distribution; run this again "
                    f"then ({no.code})"
                )

    def _delete_table(self, region: str) -> None:
        try:
            self._cloud.call("dynamodb", "update_table", region, TableName=self._name, DeletionProtectionEnabled=False)
            self._cloud.call("dynamodb", "delete_table", region, TableName=self._name)
            self._say(f"table {self._name} in {region}: deleted; its links are unknown from now on")
        except SaidNo as no:
            if no.code != "ResourceNotFoundException":
                raise DeploymentUnfit(f"table {self._name} in {region}: {no}") from None

    def _delete_bucket(self, bucket: str, region: str) -> None:
        try:
            self._cloud.call("s3", "delete_bucket", region, Bucket=bucket)
            self._say(f"bucket {bucket}: deleted")
        except SaidNo as no:
            if no.code not in ("NoSuchBucket", "404"):
                raise DeploymentUnfit(
                    f"bucket {bucket}: {no}", remedy="empty it first; nothing here deletes objects"
                ) from None

    def _retire_key(self, arn: str, region: str) -> None:
        try:
            self._cloud.call("kms", "schedule_key_deletion", region, KeyId=arn, PendingWindowInDays=KEY_GOES_AFTER_DAYS)
            self._say(f"key {arn}: goes in {KEY_GOES_AFTER_DAYS} days, and can be kept until then")
        except SaidNo as no:
            if no.code not in ("NotFoundException", "KMSInvalidStateException"):
                raise DeploymentUnfit(f"key {arn}: {no}") from None


def _never(text: str) -> str:
    raise AssertionError(f"nothing is applied here: {len(text)} bytes")
