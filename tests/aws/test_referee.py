"""The referee: CloudFront's order, triggers, policies and error bodies, as far as it models them."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.aws.conftest import DISTRIBUTION, deployment_of, public_pems

from oncegate.aws.referee import functions
from oncegate.aws.referee.bucket_policy import allows
from oncegate.aws.referee.buckets import MemoryBucket
from oncegate.aws.referee.distribution import NotModelled, read_template
from oncegate.aws.referee.served import Served
from oncegate.aws.referee.site import Site
from oncegate.aws.stacks.home import bucket_statements
from oncegate.aws.stacks.options import Home
from oncegate.keys.pem import load_signing_key, new_key_pair
from oncegate.links.cloudfront import sign_url

pytest_plugins = ["oncegate.testing.cloudfront"]

PRIVATE, PUBLIC = (pem.decode() for pem in new_key_pair("ecdsa"))
KEY = load_signing_key(PRIVATE.encode()).named("K1")

PASS = """
def handler(event, context):
    cf = event["Records"][0]["cf"]
    if cf["config"]["eventType"] == "viewer-request":
        request = cf["request"]
        request["headers"]["x-oncegate-claim"] = [{"key": "x-oncegate-claim", "value": cf["config"]["requestId"]}]
        return request
    response = cf["response"]
    shown = cf["request"]["headers"].get("x-oncegate-claim", [{"value": ""}])[0]["value"]
    response["headers"]["x-told"] = [{"key": "X-Told", "value": str(shown == cf["config"]["requestId"])}]
    return response
"""


def function(viewer_request: str, origin_response: str = "return cf['response']") -> str:
    """A function of two lines."""
    return (
        "import time\n\ndef handler(event, context):\n    cf = event['Records'][0]['cf']\n"
        f"    if cf['config']['eventType'] == 'viewer-request':\n        {viewer_request}\n    {origin_response}\n"
    )


def sign(url: str, *, lives_s: int = 600, **more: Any) -> str:
    """A signed URL."""
    return sign_url(url, key=KEY, expires_s=int(time.time()) + lives_s, **more)


@pytest.fixture
def site(cloudfront: Callable[..., Served]) -> Served:
    """A distribution without a function."""
    return cloudfront(keys={"K1": PUBLIC}, objects={"a.txt": b"x"}, function=None)


def test_a_signed_url_is_served_and_another_is_not(site: Served) -> None:
    """The promise of the fixture, with no account and no emulator."""
    assert site.get(sign(site.url("a.txt"))).body == b"x"
    assert site.get(site.url("a.txt")).code == "MissingKey"
    assert site.seen[0].sent_headers.keys() <= {"host", "user-agent"}
    assert len(site.seen) == 1, "what is not signed reaches no bucket"


@pytest.mark.parametrize(
    ("change", "code", "size_bytes"),
    [
        (lambda url: url.partition("?")[0], "MissingKey", 146),
        (lambda url: url.replace("Key-Pair-Id=K1", "Key-Pair-Id=K2"), "InvalidKey", 106),
        (lambda url: url.replace("a.txt", "b.txt"), "AccessDenied", 110),
        (lambda url: url.replace("Expires=", "Expires=x"), "MalformedPolicy", 116),
        (lambda url: url.replace("Signature=", "Signature=!"), "MalformedSignature", 131),
    ],
    ids=["unsigned", "unknown key", "tampered", "no time", "no signature"],
)
def test_errors_are_awss_byte_for_byte(site: Served, change: Callable[[str], str], code: str, size_bytes: int) -> None:
    """Programs tell them apart; the sizes are those that were seen at AWS."""
    reply = site.get(change(sign(site.url("a.txt"))))
    assert (reply.status, reply.code, len(reply.body)) == (403, code, size_bytes)
    assert reply.headers["content-type"] == "text/xml"
    assert reply.headers["x-cache"] == "Error from cloudfront"


def test_an_expired_link_is_refused(site: Served) -> None:
    """Both sides of the end are in the vectors; here it is the referee's clock that counts."""
    assert site.get(sign(site.url("a.txt"), lives_s=-1)).code == "AccessDenied"


def test_cookies_open_what_their_policy_covers(site: Served) -> None:
    """A policy in a cookie, where the URL has no parameter of CloudFront's."""
    query = sign(f"https://{site.domain}/*", custom=True).partition("?")[2]
    cookies = "; ".join(f"CloudFront-{each}" for each in query.split("&"))
    assert site.get(site.url("a.txt"), cookie=cookies).body == b"x"
    assert site.get(site.url("a.txt")).code == "MissingKey"


def test_another_host_is_nobodys(site: Served) -> None:
    """A link names its distribution; another's Host reaches another distribution, or none."""
    assert site.get(sign("https://other.example/a.txt")).status == 403
    assert not site.seen


def test_a_method_that_no_behaviour_allows_runs_no_function(cloudfront: Callable[..., Served]) -> None:
    """CloudFront refuses it before the signature is looked at."""
    site = cloudfront(keys={"K1": PUBLIC}, objects={}, function=function("raise SystemExit"))
    assert site.ask("TRACE", site.url("a")).status == 501, "the listener's own: http.server knows it not"


def test_the_claim_goes_from_one_trigger_to_the_other(cloudfront: Callable[..., Served]) -> None:
    """By a header that the request policy lets through; and both have one request id."""
    site = cloudfront(keys={"K1": PUBLIC}, objects={"a.txt": b"x"}, function=PASS)
    assert site.get(sign(site.url("a.txt"))).headers["x-told"] == "True"
    assert "x-oncegate-claim" in site.seen[0].sent_headers


def test_what_no_policy_names_never_reaches_the_bucket(cloudfront: Callable[..., Served]) -> None:
    """With x-amz-copy-source OAC would sign a copy of any object over the link's own key."""
    site = cloudfront(keys={"K1": PUBLIC}, objects={"a.txt": b"x"}, function=PASS)
    forbidden = {"x-amz-copy-source": "/objects/a.txt", "x-amz-acl": "public-read", "x-amz-tagging": "a=b"}
    sent = {**forbidden, "x-amz-checksum-sha256": "AA==", "content-type": "text/plain", "cookie": "a=b"}
    assert site.ask("PUT", sign(site.url("inbox/b") + "?versionId=1"), body=b"new", headers=sent).status == 200
    assert site.bucket["inbox/b"] == b"new"
    assert not site.seen[0].sent_headers.keys() & {*forbidden, "cookie"}
    assert site.seen[0].sent_headers["x-amz-checksum-sha256"] == "AA=="
    assert site.seen[0].query == ""


def test_a_function_that_does_not_remove_a_range_is_seen(cloudfront: Callable[..., Served]) -> None:
    """A use that is taken for a part of an object must not go unnoticed here."""
    site = cloudfront(keys={"K1": PUBLIC}, objects={"a.txt": b"0123456789"}, function=PASS)
    assert site.get(sign(site.url("a.txt")), range="bytes=2-3").status == 206
    removing = function("cf['request']['headers'].pop('range', None); return cf['request']")
    site = cloudfront(keys={"K1": PUBLIC}, objects={"a.txt": b"0123456789"}, function=removing)
    assert site.get(sign(site.url("a.txt")), range="bytes=2-3").status == 200


def test_a_function_answers_by_itself(cloudfront: Callable[..., Served]) -> None:
    """Such an answer asks no bucket, and runs no second trigger."""
    answer = (
        "return {'status': '403', 'headers': {'content-type': [{'key': 'Content-Type', 'value': 'a/b'}]}, 'body': 'no'}"
    )
    site = cloudfront(keys={"K1": PUBLIC}, objects={"a.txt": b"x"}, function=function(answer, "raise ValueError"))
    reply = site.get(sign(site.url("a.txt")))
    assert (reply.status, reply.headers["content-type"], reply.body) == (403, "a/b", b"no")
    assert not site.seen


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("raise ValueError('x')", 503),
        ("import os; os._exit(1)", 503),
        ("time.sleep(60)", 503),
        ("return None", 502),
        ("return {'status': '99'}", 502),
        ("return {'status': '200', 'body': 'x' * 50000}", 502),
        ("return {'status': '204', 'body': 'x'}", 502),
        ("cf['request']['headers']['host'][0]['value'] = 'a'; return cf['request']", 502),
        ("cf['request']['headers']['x-amz-cf-id'] = []; return cf['request']", 502),
        ("cf['request']['headers']['X-Own'] = []; return cf['request']", 502),
    ],
)
def test_what_cloudfront_does_not_take_from_a_function_is_refused(
    cloudfront: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, line: str, status: int
) -> None:
    """A function that fails must never lead to the object; and what passes here must pass there."""
    monkeypatch.setattr(functions, "EVENT_MAX_S", 2.0)
    monkeypatch.setattr(functions, "START_MAX_S", 1.0 if "sleep" in line else 30.0)
    site = cloudfront(keys={"K1": PUBLIC}, objects={"a.txt": b"secret"}, function=function(line))
    reply = site.get(sign(site.url("a.txt")))
    assert reply.status == status
    assert b"secret" not in reply.body
    assert not site.seen


def test_functions_run_under_our_own_client_too(
    cloudfront: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS's client, awslambdaric, has no wheel everywhere; what it runs must run without it."""
    monkeypatch.setattr(functions.importlib.util, "find_spec", lambda name: None)
    assert functions.runtime_client()[-1].endswith("runtime_client.py")
    site = cloudfront(keys={"K1": PUBLIC}, objects={"a.txt": b"x"}, function=PASS)
    assert site.get(sign(site.url("a.txt"))).headers["x-told"] == "True"
    failing = cloudfront(keys={"K1": PUBLIC}, objects={"a.txt": b"x"}, function=function("raise ValueError"))
    assert [failing.get(sign(failing.url("a.txt"))).status for _ in range(2)] == [503, 503]
    wrong = cloudfront(keys={"K1": PUBLIC}, objects={"a.txt": b"x"}, function="raise ImportError")
    assert wrong.get(sign(wrong.url("a.txt"))).status == 503


def test_a_function_has_no_variables_of_ours(
    cloudfront: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda@Edge has none: a function that reads one works here and fails there."""
    monkeypatch.setenv("ONCEGATE_SECRET", "x")
    shown = "import os, json; return {'status': '200', 'body': json.dumps(sorted(os.environ))}"
    site = cloudfront(keys={"K1": PUBLIC}, objects={}, function=function(shown))
    names = json.loads(site.get(sign(site.url("a"))).body)
    assert not [name for name in names if name.startswith("ONCEGATE")]
    assert "AWS_LAMBDA_FUNCTION_NAME" in names


def test_an_error_is_kept_unless_the_distribution_says_0(cloudfront: Callable[..., Served]) -> None:
    """CloudFront keeps a 503 for 10 s by itself: whoever claimed meanwhile gets it, and no trigger gives the use back."""
    keeping = cloudfront(keys={"K1": PUBLIC}, objects={"a.txt": b"x"}, function=None, error_ttls_s={})
    keeping.bucket.fails_with = 503
    assert keeping.get(sign(keeping.url("a.txt"))).status == 503
    keeping.bucket.fails_with = 0
    assert keeping.get(sign(keeping.url("a.txt"))).status == 503
    assert len(keeping.seen) == 1
    honest = cloudfront(keys={"K1": PUBLIC}, objects={"a.txt": b"x"}, function=None)
    honest.bucket.fails_with = 503
    assert honest.get(sign(honest.url("a.txt"))).status == 503
    honest.bucket.fails_with = 0
    assert honest.get(sign(honest.url("a.txt"))).status == 200


def test_the_buckets_policy_decides(cloudfront: Callable[..., Served]) -> None:
    """As it is written for the deployment: reading everywhere, creating under the prefixes, never without a condition."""
    options = deployment_of(bucket="objects").options
    policy = {"Statement": bucket_statements(options, DISTRIBUTION)}
    site = cloudfront(keys={"K1": PUBLIC}, objects={"a.txt": b"x"}, function=None, bucket_policy=policy)
    assert site.get(sign(site.url("a.txt"))).status == 200
    create = {"if-none-match": "*"}
    assert site.ask("PUT", sign(site.url("inbox/b")), body=b"b", headers=create).status == 200
    assert site.ask("PUT", sign(site.url("inbox/b")), body=b"c", headers=create).status == 412
    assert site.ask("PUT", sign(site.url("inbox/c")), body=b"c").status == 403, "without its condition"
    assert site.ask("PUT", sign(site.url("a.txt")), body=b"c", headers=create).status == 403, "elsewhere"
    assert site.ask("DELETE", sign(site.url("inbox/b"))).status == 403
    assert site.bucket["inbox/b"] == b"b"


def test_the_buckets_policy_lets_in_no_other_distribution(cloudfront: Callable[..., Served]) -> None:
    """Everybody can make a distribution with this bucket as its origin."""
    options = deployment_of(bucket="objects").options
    policy = {"Statement": bucket_statements(options, DISTRIBUTION[:-1] + "F")}
    site = cloudfront(keys={"K1": PUBLIC}, objects={"a.txt": b"x"}, function=None, bucket_policy=policy)
    assert site.get(sign(site.url("a.txt"))).status == 403


def test_a_condition_that_it_does_not_know_is_refused() -> None:
    """A policy that cannot be evaluated must not be one that allows."""
    statement: Mapping[str, Any] = {
        "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*",
        "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}},
    }  # fmt: skip
    with pytest.raises(NotModelled, match="IpAddress"):
        allows({"Statement": [statement]}, action="s3:GetObject", resource="arn:aws:s3:::objects/a", context={})


def test_a_template_is_served_as_it_is_written() -> None:
    """What is deployed is what is judged: behaviours, keys, code, policies and headers come from the template."""
    deployment = deployment_of(
        public_keys=(PUBLIC,), uploads=("inbox/", "from/"), folder="/public", homes=(Home("eu-central-1"),)
    )
    template = deployment.edge
    (key_id,) = (name for name in template["Resources"] if name.startswith("Key") and name != "KeyGroup")
    distribution = read_template(template, parameters={"ClaimKey": "c" * 43}, ids={key_id: "K1"})
    assert [each.pattern for each in distribution.behaviours] == ["inbox/*", "from/*", "*"]
    assert "c" * 43 in distribution.behaviours[0].triggers["viewer-request"]
    site = Site(distribution, MemoryBucket({"public/a.html": b"<p>"}, "acme-objects"))
    with contextlib.closing(Served(site, distribution.domain)) as served:
        reply = served.get(sign(served.url("a.html")))
        assert reply.body == b"<p>"
        assert reply.headers["cache-control"] == "private, no-store"
        assert reply.headers["content-security-policy"].startswith("sandbox")
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert served.get(served.url("a.html")).code == "MissingKey"


@pytest.mark.parametrize(
    ("at", "name", "value"),
    [
        ("DistributionConfig", "OriginGroups", {"Items": [1]}),
        ("DistributionConfig", "WebACLId", "arn"),
        ("DefaultCacheBehavior", "FunctionAssociations", [{}]),
        ("DefaultCacheBehavior", "CachePolicyId", "658327ea-f89d-4fab-a63d-7e88639e58f6"),
    ],
)
def test_what_it_does_not_model_is_refused_by_name(at: str, name: str, value: object) -> None:
    """A verdict on another distribution than the one that is deployed is worse than none."""
    template = json.loads(json.dumps(deployment_of(public_keys=public_pems()).edge))
    config = template["Resources"]["Distribution"]["Properties"]["DistributionConfig"]
    (config if at == "DistributionConfig" else config[at])[name] = value
    with pytest.raises(NotModelled, match=r"model"):
        read_template(template, parameters={"ClaimKey": "c" * 43})
