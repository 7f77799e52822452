"""The configuration of a deployment: the one that is written here, and the one that the API's function has."""

from __future__ import annotations

from oncegate.aws.stacks.options import Options

_TEMPLATE = """\
[viewer]
public_url = "https://{domain}"

[links]
plain_links = "{plain_links}"
{home}
[store]
url = "s3://{bucket}{folder}"

[store.options]
aws_region = "{region}"

[ledger]
url = "dynamodb://{name}?region={region}"
{homes}
[keys]
group = "./keys"
signing = "{signing}"
"""


def configuration_text(options: Options, *, domain: str, signing: str) -> str:
    """Write ``oncegate.toml``.

    Args:
        options: of the deployment.
        domain: of the distribution, or one's own.
        signing: as ``[keys] signing`` has it.
    """
    first = options.first
    return _TEMPLATE.format(
        name=options.name,
        domain=domain,
        plain_links=options.plain_links,
        home=f'home = "{first.name}"\n' if first.name else "",
        bucket=options.bucket,
        folder=options.folder,
        region=first.region,
        homes=_homes_text(options),
        signing=signing,
    )


def _homes_text(options: Options) -> str:
    """The tables of further homes: links that name one are counted there, and found there."""
    lines = [f'{home.name} = "dynamodb://{options.name}?region={home.region}"' for home in options.homes[1:]]
    return "\n".join(["", "[ledger.homes]", *lines, ""]) if lines else ""
