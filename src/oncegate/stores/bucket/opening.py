"""Opens the store of ``s3://bucket/prefix``, ``gs://`` or ``az://`` with ``[store.options]``.

Options have obstore's names, with or without ``aws_``, ``google_`` or ``azure_`` before them. A missing option is taken
from the environment, as obstore and every AWS tool do: ``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL`` and so on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from oncegate.aws_requests.credentials import ChainCredentials, GivenCredentials, GivesCredentials, provider_of
from oncegate.aws_requests.endpoint import allow_http_of, endpoint_of
from oncegate.aws_requests.signature import AwsCredentials
from oncegate.links.urls import object_key_problem
from oncegate.stores.bucket.faults import first_line
from oncegate.stores.bucket.s3_calls import S3Calls, S3Place
from oncegate.stores.bucket.store import RETRIES, SHORT_CALLS, TRANSFERS, Bucket, ObstoreStore
from oncegate.stores.protocol import Store, StoreUnfit

if TYPE_CHECKING:  # the driver has these names for type checkers alone
    from obstore.store import ClientConfig, ObjectStore

SCHEMES = frozenset({"s3", "gs", "az"})
CLIENT_OPTIONS = frozenset(
    {"allow_http", "allow_invalid_certificates", "proxy_url", "proxy_ca_certificate", "proxy_excludes"}
    | {"root_certificate", "user_agent", "http1_only", "http2_only"}
)
_ENDPOINT_OPTIONS = ("endpoint", "endpoint_url")
_VENDOR = {"s3": "aws_", "gs": "google_", "az": "azure_"}
_TRUE = frozenset({"true", "1", "yes", "on"})


def open_obstore(url: str, *, options: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> Store:
    """Open a bucket, without a request to it.

    Args:
        url: ``s3://bucket`` or ``s3://bucket/prefix``, taken literally; ``gs:`` and ``az:`` alike.
        options: the table ``[store.options]``.
        environ: has the options that are not given.

    Raises:
        StoreUnfit: the URL names no bucket, or an option is unknown.
    """
    scheme, _, rest = url.partition("://")
    name, _, prefix = rest.partition("/")
    prefix = prefix.rstrip("/")
    if scheme not in SCHEMES or not name or (prefix and object_key_problem(prefix)):
        kind = url.partition(":")[0]
        raise StoreUnfit(
            f"{url} names no bucket", remedy=f"write {kind}://bucket or {kind}://bucket/prefix", where="store.url"
        )
    config, client, plain = dict[str, str](), dict[str, str](), dict[str, str]()
    for given, value in options.items():
        key = given.lower().removeprefix(_VENDOR[scheme])
        plain[key] = value
        if key in CLIENT_OPTIONS:
            client[key] = value
        elif scheme != "s3" or key not in _ENDPOINT_OPTIONS:
            config[given.lower()] = value
    calls: S3Calls | None = None
    credentials: GivesCredentials | None = None
    if scheme == "s3":
        settings = _S3Settings(plain, environ)
        credentials = settings.credentials()
        calls = S3Calls(settings.place(name, prefix), credentials)
        if endpoint := settings.endpoint():
            config["aws_endpoint"] = endpoint
            client["allow_http"] = allow_http_of(endpoint, given=plain.get("allow_http"), environ=environ)
        if "disable_bulk_delete" not in plain:  # every server can delete one object at a time
            config["aws_disable_bulk_delete"] = "true"

    def make(limits: ClientConfig) -> ObjectStore:
        # The casts: obstore checks the options itself, and names one that it does not know.
        both = cast("ClientConfig", {**limits, **_typed(client)})
        known = cast("Any", config)
        match scheme:
            case "s3":
                chain = cast("Any", provider_of(credentials) if isinstance(credentials, ChainCredentials) else None)
                return S3Store(
                    name,
                    prefix=prefix or None,
                    config=known,
                    client_options=both,
                    retry_config=RETRIES,
                    credential_provider=chain,
                )
            case "gs":
                # otherwise Google decodes what was stored with Content-Encoding: gzip, and no length is right
                both["default_headers"] = {"accept-encoding": "gzip"}
                return GCSStore(name, prefix=prefix or None, config=known, client_options=both, retry_config=RETRIES)
            case _:
                return AzureStore(name, prefix=prefix or None, config=known, client_options=both, retry_config=RETRIES)

    try:
        return ObstoreStore(Bucket(short=make(SHORT_CALLS), long=make(TRANSFERS), scheme=scheme, calls=calls))
    except (exceptions.BaseError, ValueError, TypeError) as error:
        raise StoreUnfit(first_line(error), where="store.options") from error


class _S3Settings:
    """What our own requests need to know, found in the same places as obstore does."""

    def __init__(self, config: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self._config = config
        self._environ = environ

    def _value(self, *names: str) -> str:
        for name in names:
            if found := self._config.get(name) or self._environ.get(f"AWS_{name.upper()}"):
                return found
        return ""

    def credentials(self) -> GivesCredentials:
        """Return the given credentials, else those of the chain."""
        key, secret = self._value("access_key_id"), self._value("secret_access_key")
        if self._value("skip_signature").lower() in _TRUE:
            return GivenCredentials(AwsCredentials("", ""))
        if bool(key) != bool(secret):
            raise StoreUnfit("aws_access_key_id and aws_secret_access_key go together", where="store.options")
        if key:
            return GivenCredentials(AwsCredentials(key, secret, self._value("session_token", "token")))
        return ChainCredentials()

    def endpoint(self) -> str:
        """Return the server's URL; empty for AWS."""
        given = next((self._config[name] for name in _ENDPOINT_OPTIONS if name in self._config), "")
        return endpoint_of("S3", given=given, environ=self._environ)

    def place(self, bucket: str, prefix: str) -> S3Place:
        """Return where the bucket is."""
        region = self._value("region", "default_region") or "us-east-1"
        endpoint = self.endpoint()
        is_virtual = self._value("virtual_hosted_style_request").lower() in _TRUE
        if not endpoint:
            host = f"s3.{region}.amazonaws.com"
            endpoint = f"https://{bucket}.{host}" if is_virtual else f"https://{host}/{bucket}"
        elif not is_virtual:
            endpoint = f"{endpoint}/{bucket}"
        return S3Place(
            endpoint=endpoint,
            prefix=prefix,
            bucket=bucket,
            region=region,
            is_signed=self._value("skip_signature").lower() not in _TRUE,
            is_payload_signed=self._value("unsigned_payload").lower() not in _TRUE,
        )


def _typed(client: Mapping[str, str]) -> dict[str, object]:
    return {
        name: value.lower() in _TRUE if value.lower() in _TRUE | {"false", "0"} else value
        for name, value in client.items()
    }
