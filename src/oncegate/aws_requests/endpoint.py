"""Which server is asked in place of an AWS service: the configured one, or the one in the variables that AWS tools read.

Source: AWS SDKs and Tools Reference Guide, "Service-specific endpoints"; ``AWS_ALLOW_HTTP`` and ``AWS_ENDPOINT`` are
obstore's.
"""

from __future__ import annotations

from collections.abc import Mapping


def endpoint_of(service: str, *, given: str, environ: Mapping[str, str]) -> str:
    """Find the URL of another server than AWS's own, without a slash at its end; empty where none is named.

    Args:
        service: as in the variable's name, such as ``S3``.
        given: by the configuration; it wins.
        environ: of which counts the first that is set: ``AWS_ENDPOINT_URL_<service>``, ``AWS_ENDPOINT_URL``, and
            ``AWS_ENDPOINT`` of obstore.
    """
    names = (f"AWS_ENDPOINT_URL_{service}", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return (given or next((environ[name] for name in names if environ.get(name)), "")).rstrip("/")


def allow_http_of(endpoint: str, *, given: str | None, environ: Mapping[str, str]) -> str:
    """Return ``true`` or ``false``, as obstore reads it: whether requests may be sent without TLS.

    As configured, else ``AWS_ALLOW_HTTP``, else whether the endpoint begins with http://.
    """
    usual = "true" if endpoint.startswith("http://") else "false"
    return given if given is not None else environ.get("AWS_ALLOW_HTTP") or usual
