"""One request through the referee, in CloudFront's order: behaviour, method, protocol, signature, trigger, bucket, trigger.

Source: docs/aws-protocol.md 1.6.4, 3.2, 3.5; CloudFront Developer Guide, "Troubleshoot", for 502 and 503.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from oncegate.aws.referee.bucket_policy import allows
from oncegate.aws.referee.buckets import Bucket, Given, OriginAway, Sent, error
from oncegate.aws.referee.distribution import ERROR_KEPT_S, Behaviour, Distribution
from oncegate.aws.referee.events import (
    Headers,
    WrongAnswer,
    check_generated,
    check_headers,
    event_of,
    headers_of,
    read_headers,
)
from oncegate.aws.referee.functions import FunctionFailed, FunctionPool
from oncegate.aws.referee.signatures import NAMES, Asked, Forbidden, VerifiesSignatures, check
from oncegate.keys.pem import load_public_key

ACTIONS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}
SENT_ALWAYS = ("content-length", "content-type", "host", "if-match", "if-modified-since", "if-range")
"""Whatever a policy says. That CloudFront passes Range and conditions is the worst case, so that a function that does
not remove them is seen."""
SENT_ALWAYS_OF_DOWNLOADS = ("if-none-match", "if-unmodified-since", "range")
USER_AGENT = "Amazon CloudFront"


class Received(NamedTuple):
    """A viewer's request.

    Attributes:
        method: in upper case.
        target: path and query, raw.
        headers: as they came.
        body: the whole.
        address: of the viewer.
    """

    method: str
    target: str
    headers: Headers
    body: bytes
    address: str

    def header(self, name: str) -> str:
        """The first of a name in lower case; empty where there is none."""
        return next((value for each, value in self.headers if each.lower() == name), "")


class Answer(NamedTuple):
    """What a viewer gets."""

    status: int
    headers: Headers
    body: bytes


class Seen(NamedTuple):
    """What the bucket was asked, and its answer's status; kept for tests."""

    method: str
    path: str
    query: str
    sent_headers: Mapping[str, str]
    status: int


class Site:
    """A distribution in front of a bucket.

    Args:
        distribution: what is served.
        bucket: behind it.
        bucket_policy: read anew for each request; None: the bucket lets in the distribution for everything.
        environ: variables of functions, as an emulator needs them.
        local_hosts: names under which a viewer reaches the referee itself; there, http counts as https.
        now_s: seconds since 1970 UTC.

    Attributes:
        seen: what the bucket was asked, in order.
    """

    def __init__(
        self,
        distribution: Distribution,
        bucket: Bucket,
        *,
        bucket_policy: Callable[[], Mapping[str, Any]] | None = None,
        environ: Mapping[str, str] | None = None,
        local_hosts: Sequence[str] = (),
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.seen: list[Seen] = []
        self._distribution = distribution
        self._bucket = bucket
        self._policy = bucket_policy
        self._hosts = {name.lower() for name in (distribution.domain, *distribution.aliases)}
        self._local_hosts = tuple(local_hosts)
        self._now_s = now_s
        self._keys = {key_id: load_public_key(pem.encode()) for key_id, pem in distribution.keys.items()}
        self._kept_errors: dict[str, tuple[float, Given]] = {}
        codes = {code for each in distribution.behaviours for code in each.triggers.values()}
        self._functions = {code: FunctionPool(code, environ or {}) for code in codes}

    def said(self) -> str:
        """What the functions logged."""
        return "".join(pool.said() for pool in self._functions.values())

    def close(self) -> None:
        """End the functions."""
        for pool in self._functions.values():
            pool.close()

    def add_local_hosts(self, *hosts: str) -> None:
        """Serve under further names of the referee itself."""
        self._local_hosts += hosts

    def handle(self, received: Received) -> Answer:
        """Answer a request."""
        path, _, query = received.target.partition("?")
        host = received.header("host").lower()
        is_local = host in self._local_hosts
        behaviour = self._distribution.behaviour_of(path)
        if not is_local and host.removesuffix(":443") not in self._hosts:
            return _own_error(403, "Bad request: the host is none of the distribution's")
        if received.method not in behaviour.methods:
            return _own_error(403, "This distribution is not configured to allow the HTTP request method")
        asked = Asked(
            scheme="http" if is_local else "https",
            host=host if is_local else host.removesuffix(":443"),
            path=path,
            query=query,
            cookies=_cookies(received.header("cookie")),
            address=received.address,
        )
        if behaviour.key_ids is not None:
            trusted: dict[str, VerifiesSignatures] = {each: self._keys[each] for each in behaviour.key_ids}
            try:
                check(asked, trusted, now_s=int(self._now_s()))
            except Forbidden as refused:
                headers = [("Content-Type", "text/xml"), *_OWN]
                return Answer(403, headers, refused.body)
        try:
            return _Passage(self, behaviour, received).carry(path, query)
        except FunctionFailed as failed:
            return _own_error(503, f"The Lambda function failed: {failed}")
        except WrongAnswer as wrong:
            return _own_error(502, f"The Lambda function's answer is not valid: {wrong}")
        except OriginAway:
            return _own_error(502, "CloudFront wasn't able to connect to the origin")

    def run(self, code: str, kind: str, request_id: str, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run a trigger.

        Raises:
            FunctionFailed: it did not answer.
            WrongAnswer: it answered neither a request nor an answer.
        """
        event = event_of(
            kind,
            domain=self._distribution.domain,
            distribution_id=self._distribution.arn.rpartition("/")[2],
            request_id=request_id,
            record=record,
        )
        answer = self._functions[code].invoke(event)
        if not isinstance(answer, dict):
            raise WrongAnswer("it is neither a request nor an answer")
        return cast("Mapping[str, Any]", answer)

    def ask_bucket(self, sent: Sent) -> Given:
        """Ask the bucket, as far as its policy lets the distribution."""
        given = self._ask(sent)
        self.seen.append(Seen(sent.method, sent.path, sent.query, sent.headers, given.status))
        return given

    def kept_error(self, path: str) -> Given | None:
        """An error that is still kept for a path."""
        until_s, given = self._kept_errors.get(path, (0.0, error(404, "")))
        return given if self._now_s() < until_s else None

    def keep_error(self, path: str, given: Given) -> None:
        """Keep an error as long as the distribution says."""
        ttl_s = self._distribution.error_ttls_s.get(given.status, ERROR_KEPT_S)
        if given.status in _KEPT_STATUSES and ttl_s:
            self._kept_errors[path] = (self._now_s() + ttl_s, given)

    @property
    def folder(self) -> str:
        """Origin path."""
        return self._distribution.folder

    def _ask(self, sent: Sent) -> Given:
        action = ACTIONS.get(sent.method, "s3:Nothing")
        if not self._distribution.is_signed_for:
            return error(403, "AccessDenied")
        if self._policy is None:
            return self._bucket.ask(sent) if sent.method in ("GET", "HEAD", "PUT") else error(403, "AccessDenied")
        context = {"aws:sourcearn": self._distribution.arn, "aws:securetransport": "true"}
        if "if-none-match" in sent.headers:
            context["s3:if-none-match"] = sent.headers["if-none-match"]
        resource = f"arn:aws:s3:::{self._bucket.name}/{sent.key}"
        if not allows(self._policy(), action=action, resource=resource, context=context):
            return error(403, "AccessDenied")
        return self._bucket.ask(sent)


_KEPT_STATUSES = (400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504)
_OWN: Headers = (("Server", "CloudFront"), ("X-Cache", "Error from cloudfront"))


class _Passage:
    """A request that may pass: its triggers, and what reaches the bucket."""

    def __init__(self, site: Site, behaviour: Behaviour, received: Received) -> None:
        self._site = site
        self._behaviour = behaviour
        self._received = received
        self._request_id = base64.urlsafe_b64encode(secrets.token_bytes(40)).decode()

    def carry(self, path: str, query: str) -> Answer:
        request: Mapping[str, Any] = {
            "clientIp": self._received.address,
            "headers": headers_of(self._received.headers),
            "method": self._received.method,
            "querystring": query,
            "uri": path,
        }
        if code := self._behaviour.triggers.get("viewer-request"):
            shown = {**request, "headers": headers_of(self._received.headers)}
            answer = self._site.run(code, "viewer-request", self._request_id, {"request": shown})
            if "status" in answer:
                return self._finish(*_generated(answer))
            check_headers("viewer-request", request["headers"], answer["headers"])
            request = answer
        sent = self._sent(request)
        kept = self._site.kept_error(sent.path) if sent.method in ("GET", "HEAD") else None
        if kept is not None:
            return self._finish(kept.status, list(kept.headers.items()), kept.body)
        given = self._site.ask_bucket(sent)
        status, headers, body = self._settle(request, sent, given)
        if sent.method in ("GET", "HEAD"):
            self._site.keep_error(sent.path, Given(status, {name.lower(): value for name, value in headers}, body))
        return self._finish(status, headers, body)

    def _sent(self, request: Mapping[str, Any]) -> Sent:
        """What the request policy lets through, to the bucket by its own name."""
        behaviour, method = self._behaviour, self._received.method
        always = SENT_ALWAYS if method == "PUT" else (*SENT_ALWAYS, *SENT_ALWAYS_OF_DOWNLOADS)
        headers: dict[str, str] = {}
        for name, value in read_headers(request["headers"]):
            if behaviour.headers is None or name.lower() in (*always, *behaviour.headers):
                headers[name.lower()] = value
        headers |= {"host": "origin", "user-agent": USER_AGENT}
        own = [part for part in str(request["querystring"]).split("&") if part and part.partition("=")[0] not in NAMES]
        query = [part for part in own if behaviour.queries is None or part.partition("=")[0] in behaviour.queries]
        return Sent(method, f"{self._site.folder}{request['uri']}", "&".join(query), headers, self._received.body)

    def _settle(self, request: Mapping[str, Any], sent: Sent, given: Given) -> tuple[int, Headers, bytes]:
        headers: Headers = list(given.headers.items())
        code = self._behaviour.triggers.get("origin-response")
        if code is None:
            return given.status, headers, given.body
        shown_request = {
            **request,
            "headers": headers_of(list(sent.headers.items())),
            "querystring": sent.query,
        }
        response: Mapping[str, Any] = {
            "status": str(given.status),
            "statusDescription": "",
            "headers": headers_of(headers),
        }
        record = {"request": shown_request, "response": response}
        answer = self._site.run(code, "origin-response", self._request_id, record)
        check_headers("origin-response", response["headers"], answer.get("headers", {}))
        status, changed, body = _generated(answer)
        return status, changed, body if "body" in answer else given.body

    def _finish(self, status: int, headers: Headers, body: bytes) -> Answer:
        """Put on what the response headers policy says."""
        found = list(headers)
        for name, value, wins in self._behaviour.answer_headers:
            stands = any(each.lower() == name.lower() for each, _ in found)
            if wins or not stands:
                found = [(each, text) for each, text in found if each.lower() != name.lower()]
                found.append((name, value))
        return Answer(status, found, b"" if self._received.method == "HEAD" else body)


def _generated(answer: Mapping[str, Any]) -> tuple[int, Headers, bytes]:
    check_generated(answer)
    body = str(answer.get("body", ""))
    raw = base64.b64decode(body) if answer.get("bodyEncoding") == "base64" else body.encode()
    return int(answer["status"]), read_headers(answer.get("headers", {})), raw


def _own_error(status: int, words: str) -> Answer:
    """CloudFront's own page; its wording is not held, only its form and status."""
    body = f"<!DOCTYPE html><HTML><HEAD><TITLE>ERROR</TITLE></HEAD><BODY><H1>{status} ERROR</H1>{words}</BODY></HTML>"
    return Answer(status, [("Content-Type", "text/html"), *_OWN], body.encode())


def _cookies(text: str) -> Sequence[tuple[str, str]]:
    pairs = (part.strip().partition("=") for part in text.split(";") if part.strip())
    return [(name, value) for name, _, value in pairs]
