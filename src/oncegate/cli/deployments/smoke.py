"""``oncegate aws smoke``: ask a deployment that stands what no emulator can show."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from oncegate.cli.examples import examples
from oncegate.cli.main import Misuse, Refusal

if TYPE_CHECKING:
    from oncegate.aws.deploying.cloud import Cloud
    from oncegate.aws.reply import Reply
    from oncegate.aws.smoke import Calls, Trial
    from oncegate.aws.stacks.options import Options
    from oncegate.library.signer import Signer

TIMEOUT_S = 60
LINKS_LIVE_S = 900
_WORDS: Mapping[bool | None, str] = {True: "ok", False: "WRONG", None: "not here"}


@click.command(epilog=examples("oncegate aws smoke acme"))
@click.argument("name")
@click.option("--folder-here", "here", type=click.Path(path_type=Path, file_okay=False),
              help="Where the configuration is.  [default: ./NAME]")  # fmt: skip
@click.option("--through", metavar="HOST:PORT", default="",
              help="In place of CloudFront, what 'oncegate aws dev --deployment NAME' serves.")  # fmt: skip
@click.option("--profile", default="", help="Of the shared AWS files.")
@click.pass_context
def command(ctx: click.Context, *, name: str, here: Path | None, through: str, profile: str) -> None:
    """Make links of a deployment, open them, and say what holds; exit 1 where something does not.

    The numbers are those of docs/aws/SMOKE.md. It puts small objects into the bucket and removes them again.
    """
    from oncegate.aws.deploying.cloud import Cloud
    from oncegate.aws.deploying.standing import standing_options
    from oncegate.aws.smoke import run

    cloud = Cloud(profile)
    options = standing_options(cloud, f"{name}-edge")
    if options is None:
        raise Refusal(f"there is no deployment {name} in this account")
    config = (here or Path(name)) / "oncegate.toml"
    if not config.exists():
        raise Misuse(f"{config} is not there: 'oncegate aws deploy' writes it")
    trial = _trial(cloud, options, config, through)
    is_well = True
    try:
        for outcome in run(trial):
            is_well = is_well and outcome.is_well is not False
            words = f": {outcome.words}" if outcome.words else ""
            click.echo(f"{_WORDS[outcome.is_well]:9}{outcome.number:2}  {outcome.claim}{words}")
    finally:
        for key in trial.keys:
            cloud.call("s3", "delete_object", options.first.region, Bucket=options.bucket, Key=_place(options, key))
    ctx.exit(0 if is_well else 1)


def _trial(cloud: Cloud, options: Options, config: Path, through: str) -> Trial:
    from oncegate.aws.smoke import Trial
    from oncegate.library.signer import Signer

    region = options.first.region

    def lay(key: str, content: bytes) -> None:
        cloud.call("s3", "put_object", region, Bucket=options.bucket, Key=_place(options, key), Body=content)

    return Trial(
        visit=_Http(through),
        links=_Links(Signer.from_config(config)),
        lay=lay,
        uploads=options.uploads[0] if options.uploads else "",
        bucket_url="" if through else f"https://{options.origin_domain}{options.folder}",
        api=_api_of(cloud, options),
    )


def _place(options: Options, key: str) -> str:
    """Where an object lies in the bucket, of which a folder may be all that is served."""
    return f"{options.folder}/{key}".lstrip("/")


class _Links:
    """Links of the deployment's own key, for a quarter of an hour."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def download(self, key: str, *, asks: bool = False) -> str:
        """A download link."""
        return self._signer.download(key, expires_in=LINKS_LIVE_S, confirm="always" if asks else None).url

    def upload(self, key: str) -> str:
        """An upload link."""
        return self._signer.upload(key, expires_in=LINKS_LIVE_S).url


class _Http:
    """Requests by HTTP/1.1, each on a connection of its own.

    Args:
        through: host and port that is asked in place of the URL's, without TLS; empty: the URL's.
    """

    def __init__(self, through: str = "") -> None:
        self._through = through

    def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Reply:
        """Make a request; nothing of the URL is written anew."""
        from oncegate.aws.reply import Reply

        scheme, _, rest = url.partition("://")
        host, _, target = rest.partition("/")
        is_plain = bool(self._through) or scheme == "http"
        kind = http.client.HTTPConnection if is_plain else http.client.HTTPSConnection
        connection = kind(self._through or host, timeout=TIMEOUT_S)
        try:
            connection.request(method, f"/{target}", body=body, headers={"Host": host, **headers})
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()


def _api_of(cloud: Cloud, options: Options) -> Calls | None:
    """What asks the API, by the operator's own credentials; None where it is not asked by IAM."""
    from oncegate.aws.deploying.stacks import Stacks
    from oncegate.aws_requests.credentials import ChainCredentials
    from oncegate.aws_requests.endpoint import endpoint_of
    from oncegate.aws_requests.signature import SigningScope, signed_headers

    found = Stacks(cloud, options.name, stage=str).find(options.api_stack, options.first.region)
    if options.api is None or options.api.authorizer != "iam" or found is None:
        return None
    endpoint = found.outputs["ApiEndpoint"]
    emulator = endpoint_of("APIGATEWAYV2", given="", environ=os.environ)
    visit = _Http(urlsplit(emulator).netloc if emulator else "")
    credentials = ChainCredentials().look_up(os.environ)
    scope = SigningScope(region=options.first.region, service="execute-api")

    def ask(method: str, target: str, *, is_signed: bool) -> Reply:
        if not is_signed:
            return visit(method, f"{endpoint}{target}", {})
        path, _, query = target.partition("?")
        signed = signed_headers(
            method, path=path, query=query, headers={"host": urlsplit(endpoint).netloc},
            payload_sha256=hashlib.sha256(b"").hexdigest(), credentials=credentials, scope=scope,
            now_s=int(time.time()),
        )  # fmt: skip
        return visit(method, f"{endpoint}{target}", {name: value for name, value in signed.items() if name != "host"})

    return ask
