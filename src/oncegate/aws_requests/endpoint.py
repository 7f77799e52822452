"""Which server is asked in place of an AWS service: the configured one, or the one in the variables that AWS tools read.

Source: AWS SDKs and Tools Reference Guide, "Service-specific endpoints"; ``AWS_ALLOW_HTTP`` and ``AWS_ENDPOINT`` are
obstore's.
"""

from __future__ import annotations

from collections.abc import Mapping


def endpoint_of(service: str, *, given: str, environ: Mapping[str, str]) -> str:
    """Find the URL of another server than AWS's own, without a slash at its end; empty where none is named.

    Args:
        service: ``S3`` or ``DYNAMODB``.
        given: by the configuration; it wins.
        environ: where ``AWS_ENDPOINT_URL_<service>`` goes before ``AWS_ENDPOINT_URL``.
    """
    names = (f"AWS_ENDPOINT_URL_{service}", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return (given or next((environ[name] for name in names if environ.get(name)), "")).rstrip("/")


def allow_http_of(endpoint: str, *, given: str | None, environ: Mapping[str, str]) -> str:
    """Return whether requests may be sent without TLS: as configured, otherwise if the endpoint begins with http://."""
    usual = "true" if endpoint.startswith("http://") else "false"
    return given if given is not None else environ.get("AWS_ALLOW_HTTP") or usual
