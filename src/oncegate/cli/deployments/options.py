"""The options that say what is deployed; ``template`` and ``deploy`` take the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from oncegate.aws.stacks.options import Api, Home, Options


def options_of_a_deployment(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a deployment."""
    many: dict[str, Any] = {"multiple": True, "metavar": "TEXT"}
    for option in reversed(
        [
            click.argument("name"),
            click.option("--home", "homes", required=True, multiple=True, metavar="[NAME=]REGION",
                         help="A Region with a table; the first also has bucket and key. Again for more."),
            click.option("--bucket", required=True, help="Where the objects are; made unless --own-bucket."),
            click.option("--own-bucket", is_flag=True, help="The bucket stands; its policy is left to you."),
            click.option("--versioned", is_flag=True, help="The bucket that is made keeps versions."),
            click.option("--folder", default="", help="Serve this folder of the bucket alone, such as /public."),
            click.option("--uploads", default=("inbox/",), show_default=True, **many,
                         help="Beginnings of keys where upload links may create objects; empty: none."),
            click.option("--signing", type=click.Choice(["kms", "own"]), default="kms", show_default=True,
                         help="A new key in KMS signs, or keys of yours."),
            click.option("--signing-key", default="", metavar="SPEC",
                         help="With --signing own: kms:, secretsmanager: or ssm: and an ARN, for API and commands."),
            click.option("--public-key", "public_keys", multiple=True,
                         type=click.Path(path_type=Path, exists=True, dir_okay=False),
                         help="A public key in PEM that is trusted as well."),
            click.option("--own-distribution", is_flag=True, help="No distribution: outputs for one that stands."),
            click.option("--domain", default="", help="A name of your own for the distribution."),
            click.option("--certificate", default="", help="Its certificate: an ARN in us-east-1."),
            click.option("--zone", default="", help="Make the name's record in this hosted zone."),
            click.option("--cors-origin", "cors_origins", help="A site whose pages may read answers.", **many),
            click.option("--alarms", "alarm_topic", default="", help="ARN of a topic that alarms are sent to."),
            click.option("--confirm", type=click.Choice(["auto", "always", "never"]), default="auto",
                         show_default=True, help="When a person is asked before a use is spent."),
            click.option("--plain-links", type=click.Choice(["refuse", "allow"]), default="refuse",
                         show_default=True, help="Links without a ticket."),
            click.option("--api", default="iam", show_default=True, metavar="iam|jwt:ISSUER,AUDIENCE|none",
                         help="Who may call the control API, or that there is none."),
            click.option("--api-cors", help="A site whose pages may call the API.", **many),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def read_options(
    *,
    name: str,
    homes: Sequence[str],
    own_bucket: bool,
    own_distribution: bool,
    versioned: bool,
    uploads: Sequence[str],
    public_keys: Sequence[Path],
    api: str,
    api_cors: Sequence[str],
    **others: Any,
) -> Options:
    """Read them.

    Raises:
        DeploymentUnfit: they cannot be deployed.
    """
    from oncegate.aws.stacks.options import Options

    return Options(
        name=name,
        homes=read_homes(homes),
        makes_bucket=not own_bucket,
        makes_distribution=not own_distribution,
        is_versioned=versioned,
        uploads=tuple(prefix for prefix in uploads if prefix),
        public_keys=tuple(path.read_text() for path in public_keys),
        api=_read_api(api, api_cors),
        **others,
    )


def read_homes(given: Sequence[str]) -> tuple[Home, ...]:
    """Read ``[NAME=]REGION``, each.

    Raises:
        DeploymentUnfit: one of them is none.
    """
    from oncegate.aws.stacks.options import Home

    pairs = (home.rpartition("=") for home in given)
    return tuple(Home(region, name) for name, _, region in pairs)


def _read_api(given: str, origins: Sequence[str]) -> Api | None:
    from oncegate.aws.stacks.options import Api, DeploymentUnfit

    if given == "none":
        if origins:
            raise DeploymentUnfit("there is no API for pages to call", where="--api-cors")
        return None
    kind, _, rest = given.partition(":")
    if kind == "jwt":
        issuer, *audience = rest.split(",")
        return Api(authorizer="jwt", issuer=issuer, audience=tuple(audience), cors_origins=tuple(origins))
    if given != "iam":
        raise DeploymentUnfit(f"{given!r} is no API", remedy="iam, jwt:ISSUER,AUDIENCE or none", where="--api")
    return Api(cors_origins=tuple(origins))
