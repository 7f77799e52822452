"""Where a template goes that is too long to be sent: into the deployment's bucket, and out of it again."""

from __future__ import annotations

import hashlib

from oncegate.aws.deploying.cloud import Cloud

PREFIX = "oncegate-deployment/"
"""Outside every prefix that upload links may create under; a link to it would have to be signed by the operator."""


class Staging:
    """Templates in a bucket.

    Args:
        cloud: by which AWS is asked.
        bucket: of the deployment; it stands before a long template is applied.
        region: of the bucket.
    """

    def __init__(self, cloud: Cloud, bucket: str, region: str) -> None:
        self._cloud = cloud
        self._bucket = bucket
        self._region = region
        self._keys: set[str] = set()

    def lay(self, text: str) -> str:
        """Lay a template, and return its URL."""
        key = f"{PREFIX}{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
        # known before it is written, so that it is removed whatever happens to the call
        self._keys.add(key)
        self._cloud.call("s3", "put_object", self._region, Bucket=self._bucket, Key=key, Body=text.encode())
        endpoint = self._cloud.endpoint("s3", self._region)
        if endpoint.endswith(".amazonaws.com"):
            return f"https://{self._bucket}.s3.{self._region}.amazonaws.com/{key}"
        return f"{endpoint}/{self._bucket}/{key}"

    def clear(self) -> None:
        """Remove what was laid, and what an interrupted run left."""
        if not self._keys:
            return
        listed = self._cloud.call("s3", "list_objects_v2", self._region, Bucket=self._bucket, Prefix=PREFIX)
        for key in self._keys | {each["Key"] for each in listed.get("Contents", ())}:
            self._cloud.call("s3", "delete_object", self._region, Bucket=self._bucket, Key=key)
        self._keys.clear()
