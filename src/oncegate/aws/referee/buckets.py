"""What stands behind the referee: a bucket in memory, or one on a server that speaks S3.

Both are asked as CloudFront asks with an origin access control (OAC): by requests that it signs.

Source: Amazon S3 API Reference, GetObject, PutObject, "Error responses"; docs/aws-protocol.md 2.5.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from oncegate.aws_requests.signature import AwsCredentials, SigningScope, signed_headers

TIMEOUT_S = 30.0
_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")


class Sent(NamedTuple):
    """A request as it goes to the bucket.

    Attributes:
        method: GET, HEAD or PUT; the site refuses others before.
        path: escaped, with a slash in front, origin path included.
        query: without ``?``.
        headers: names in lower case.
        body: the whole.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """Of the object."""
        return unquote(self.path[1:])


class Given(NamedTuple):
    """The bucket's answer; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class OriginAway(Exception):
    """The bucket gave no answer: CloudFront answers 502 by itself, and runs no trigger for it."""


class Bucket(Protocol):
    """An origin."""

    @property
    def name(self) -> str:
        """As ARNs name it."""
        ...

    def ask(self, sent: Sent) -> Given:
        """Carry a request that the bucket policy allows.

        Raises:
            OriginAway: there is no answer.
        """
        ...


def error(status: int, code: str) -> Given:
    """An answer of S3's that is an error."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return Given(status, {"content-type": "application/xml"}, text.encode())


class MemoryBucket:
    """Objects in memory. Of conditions on a PUT it knows ``If-None-Match: *`` alone, of ranges ``bytes=a-[b]`` alone.

    Attributes:
        fails_with: a status that every request is answered with, and the code ServiceUnavailable; 0: none.
        is_away: nobody answers.
        stored_types: content type of what was uploaded, by key.
    """

    def __init__(self, objects: Mapping[str, bytes], name: str = "objects") -> None:
        self.name = name
        self.fails_with = 0
        self.is_away = False
        self.stored_types: dict[str, str] = {}
        self._objects = dict(objects)
        self._lock = threading.Lock()

    def __getitem__(self, key: str) -> bytes:
        return self._objects[key]

    def __setitem__(self, key: str, data: bytes) -> None:
        self._objects[key] = data

    def __contains__(self, key: object) -> bool:
        return key in self._objects

    def ask(self, sent: Sent) -> Given:
        """Answer as S3 does where an OAC may read and create, and not list: what is not there is 403."""
        if self.is_away:
            raise OriginAway
        if self.fails_with:
            return error(self.fails_with, "ServiceUnavailable")
        with self._lock:
            if sent.method == "PUT":
                return self._put(sent)
            data = self._objects.get(sent.key)
        if data is None:
            return error(403, "AccessDenied")
        query = dict(parse_qsl(sent.query))
        headers = {
            "content-type": query.get("response-content-type", self.stored_types.get(sent.key, "binary/octet-stream")),
            "etag": _etag(data),
            "content-length": str(len(data)),
            "accept-ranges": "bytes",
        }
        if "response-content-disposition" in query:
            headers["content-disposition"] = query["response-content-disposition"]
        if sent.headers.get("if-none-match") == headers["etag"]:
            return Given(304, {"etag": headers["etag"]}, b"")
        if sent.method == "HEAD":
            return Given(200, headers, b"")
        if span := _RANGE.fullmatch(sent.headers.get("range", "")):
            first, last = int(span[1]), min(int(span[2] or len(data)), len(data) - 1)
            if first > last:
                return error(416, "InvalidRange")
            part = data[first : last + 1]
            more = {"content-range": f"bytes {first}-{last}/{len(data)}", "content-length": str(len(part))}
            return Given(206, {**headers, **more}, part)
        return Given(200, headers, data)

    def _put(self, sent: Sent) -> Given:
        if sent.headers.get("if-none-match") == "*" and sent.key in self._objects:
            return error(412, "PreconditionFailed")
        self._objects[sent.key] = sent.body
        self.stored_types[sent.key] = sent.headers.get("content-type", "binary/octet-stream")
        return Given(200, {"etag": _etag(sent.body)}, b"")


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


class ServerBucket:
    """A bucket on a server that speaks S3, by signed requests; every header that the origin request policy passes is sent on.

    Args:
        endpoint: ``http://host:port``.
        name: of the bucket.
        credentials: with what to sign, as OAC does with CloudFront's own.
        region: of the bucket.
    """

    def __init__(self, endpoint: str, name: str, *, credentials: AwsCredentials, region: str) -> None:
        self.name = name
        self._place = urlsplit(endpoint)
        self._credentials = credentials
        self._scope = SigningScope(region=region, service="s3")

    def ask(self, sent: Sent) -> Given:
        """Carry the request to the server."""
        path = f"/{self.name}{sent.path}"
        digest = hashlib.sha256(sent.body).hexdigest()
        # SigV4 writes a name without a value as "name="
        query = "&".join(sorted(part if "=" in part else f"{part}=" for part in sent.query.split("&") if part))
        headers = signed_headers(
            sent.method,
            path=path,
            query=query,
            headers={**sent.headers, "host": self._place.netloc},
            payload_sha256=digest,
            credentials=self._credentials,
            scope=self._scope,
            now_s=int(time.time()),
        )
        connection = http.client.HTTPConnection(self._place.netloc, timeout=TIMEOUT_S)
        try:
            connection.request(sent.method, f"{path}?{query}" if query else path, body=sent.body, headers=headers)
            answer = connection.getresponse()
            return Given(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        except (OSError, http.client.HTTPException):
            raise OriginAway from None
        finally:
            connection.close()
