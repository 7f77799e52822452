"""Which server stands for an AWS service: what was configured, else the variables that every AWS tool reads.

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
    """Say whether requests may go without TLS: as configured; else they may where the endpoint begins with http://."""
    usual = "true" if endpoint.startswith("http://") else "false"
    return given if given is not None else environ.get("AWS_ALLOW_HTTP") or usual
