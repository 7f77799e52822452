"""A referee with its listener, and a client that asks it by the URLs that viewers have."""

from __future__ import annotations

import http.client
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from oncegate.aws.referee.buckets import MemoryBucket
from oncegate.aws.referee.distribution import Behaviour, Distribution
from oncegate.aws.referee.listener import Listener
from oncegate.aws.referee.site import Seen, Site
from oncegate.aws.reply import Reply
from oncegate.aws.stacks.behaviours import DOWNLOAD_HEADERS, DOWNLOAD_QUERIES, UPLOAD_HEADERS
from oncegate.links.urls import path_of

TIMEOUT_S = 60.0


class Served:
    """A referee on localhost, and a client for it.

    Args:
        site: what is served.
        domain: as viewers call it.
        bucket: behind it, where it is in memory.
        port: 0: a free one.
    """

    def __init__(self, site: Site, domain: str, *, bucket: MemoryBucket | None = None, port: int = 0) -> None:
        self.site = site
        self.domain = domain
        self._bucket = bucket
        self._listener = Listener(site, port=port)

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return self._listener.port

    @property
    def seen(self) -> Sequence[Seen]:
        """The requests meant for the bucket, in their order; also those that its policy refused."""
        return self.site.seen

    @property
    def bucket(self) -> MemoryBucket:
        """The bucket in memory.

        Raises:
            RuntimeError: the bucket is a server's.
        """
        if self._bucket is None:
            raise RuntimeError("the bucket of this site is not in memory")
        return self._bucket

    def url(self, key: str) -> str:
        """The URL of an object, not signed."""
        return f"https://{self.domain}{path_of(key)}"

    def get(self, url: str, **headers: str) -> Reply:
        """Open a URL; headers as in ``ask``."""
        return self.ask("GET", url, headers=headers)

    def ask(
        self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Make a request, as a viewer's program does; the URL's host goes into ``Host``.

        Args:
            method: in upper case.
            url: as it was signed; nothing of it is written anew.
            body: the whole.
            headers: further ones; ``_`` in a name stands for ``-``, so that they may be keyword arguments.
        """
        given = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        target = url.partition("://")[2].partition("/")[2]
        connection = http.client.HTTPConnection("127.0.0.1", self._listener.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, f"/{target}", body=body, headers={"Host": urlsplit(url).netloc, **given})
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def wait(self) -> None:
        """Serve until the program is ended."""
        self._listener.wait()

    def close(self) -> None:
        """Let go of the port, and end the functions."""
        self._listener.close()
        self.site.close()


def serve_memory(
    *,
    keys: Mapping[str, str],
    objects: Mapping[str, bytes],
    function: str | None,
    domain: str = "d111111abcdef8.cloudfront.net",
    uploads: Sequence[str] = ("inbox/",),
    environ: Mapping[str, str] | None = None,
    bucket_policy: Mapping[str, Any] | None = None,
    error_ttls_s: Mapping[int, int] | None = None,
) -> Served:
    """Serve keys and objects as the stack ``edge`` would.

    Args:
        keys: PEM texts by key id.
        objects: bytes by object key.
        function: code of both triggers; None: none, and links open as often as their signature says.
        domain: of the distribution.
        uploads: beginnings of keys that have the request policy of uploads.
        environ: variables of the function.
        bucket_policy: a document; None: the bucket lets in the distribution for everything.
        error_ttls_s: how long errors are kept; None: not at all, as the stack has it.
    """
    triggers = dict.fromkeys(("viewer-request", "origin-response"), function) if function is not None else {}
    shared: dict[str, Any] = {"key_ids": tuple(keys), "triggers": triggers}
    upload_headers = tuple(name.lower() for name in UPLOAD_HEADERS)
    distribution = Distribution(
        domain=domain,
        arn="arn:aws:cloudfront::111122223333:distribution/EDFDVBD6EXAMPLE",
        keys=keys,
        behaviours=[
            *(Behaviour(pattern=f"{prefix}*", headers=upload_headers, **shared) for prefix in uploads),
            Behaviour(headers=DOWNLOAD_HEADERS, queries=DOWNLOAD_QUERIES, **shared),
        ],
        bucket="objects",
        error_ttls_s=dict.fromkeys(range(400, 600), 0) if error_ttls_s is None else error_ttls_s,
    )
    bucket = MemoryBucket(objects)
    policy = None if bucket_policy is None else lambda: bucket_policy
    site = Site(distribution, bucket, bucket_policy=policy, environ=environ)
    return Served(site, domain, bucket=bucket)
