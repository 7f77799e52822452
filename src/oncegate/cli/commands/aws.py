"""``oncegate aws``: links served by CloudFront. Options become a deployment; the work is done in ``oncegate.aws``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from oncegate.cli.deployments import bundle as bundling
from oncegate.cli.deployments import smoke as smoking
from oncegate.cli.deployments.options import options_of_a_deployment, read_homes, read_options
from oncegate.cli.examples import examples
from oncegate.cli.main import Misuse, Refusal

if TYPE_CHECKING:
    from oncegate.aws.deploying.bundle import Bundle
    from oncegate.aws.deploying.deployer import Deployer, Plans
    from oncegate.aws.deploying.plans import Plan
    from oncegate.aws.deploying.stacks import Found
    from oncegate.aws.stacks.options import Options

_ONE_HOME = "oncegate aws deploy acme --home eu-central-1 --bucket acme-objects"


@click.group(epilog=examples(_ONE_HOME, "oncegate aws status acme", "oncegate aws dev"))
def command() -> None:
    """Serve links by CloudFront: deploy, look at, take away; try it without an account."""


command.add_command(bundling.command, "bundle")
command.add_command(smoking.command, "smoke")


@command.command(epilog=examples("oncegate aws template acme --home eu-central-1 --bucket b --public-key key.pem"))
@options_of_a_deployment
@click.option("--stack", type=click.Choice(["home", "edge", "api"]), default="edge", show_default=True, help="Which.")
@click.option("--of", "of", metavar="REGION", default="", help="Which home's.  [default: the first]")
@click.option("--for-distribution", "arn", metavar="ARN", default="", help="Whom the bucket's policy lets in.")
def template(*, stack: str, of: str, arn: str, **given: Any) -> None:
    """Print a stack's template, for who applies it by other means."""
    from oncegate.aws.stacks.edge import edge_template
    from oncegate.aws.stacks.edge_code import joined_code
    from oncegate.aws.stacks.home import home_template
    from oncegate.aws.stacks.template import text_of

    options = read_options(**given)
    home = next((each for each in options.homes if each.region == of), None) if of else options.first
    if home is None:
        raise click.BadParameter(f"no --home is in {of}", param_hint="--of")
    is_home = stack == "home"
    made = home_template(options, home, distribution_arn=arn) if is_home else edge_template(options, joined_code())
    click.echo(text_of(made, is_pretty=True), nl=False)


@command.command(epilog=examples(_ONE_HOME, f"{_ONE_HOME} --dry-run"))
@options_of_a_deployment
@click.option("--folder-here", "here", type=click.Path(path_type=Path, file_okay=False),
              help="Where the configuration is written.  [default: ./NAME]")  # fmt: skip
@click.option("--bundle", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="The API's code, as 'oncegate aws bundle' made it; else it is fetched now.")  # fmt: skip
@click.option("--profile", default="", help="Of the shared AWS files.")
@click.option("--dry-run", is_flag=True, help="Print the plan, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def deploy(*, here: Path | None, bundle: Path | None, profile: str, dry_run: bool, yes: bool, **given: Any) -> None:
    """Make or change a deployment, and write a configuration with which 'oncegate link' works.

    What it would do is shown first. Run again it goes on where it was stopped; where all stands, it changes nothing.
    """
    from oncegate.aws.deploying.bundle import GivenBundle, OwnBundle
    from oncegate.aws.deploying.written import write_configuration

    options = read_options(**given)
    code = None if options.api is None else GivenBundle(bundle) if bundle else OwnBundle()
    deployer = _deployer(options, profile, bundle=code)
    plans = deployer.plan()
    _show(plans, options)
    if dry_run or (not plans.is_empty and not yes and not _is_wanted()):
        deployer.discard(plans)
        return
    deployed = deployer.apply(plans)
    folder = here or Path(options.name)
    written = write_configuration(folder, options, deployed)
    for path in written:
        click.echo(f"wrote {path}", err=True)
    _say_what_is_left(options, deployed.edge)
    if deployed.api:
        click.echo(f"API {deployed.api['ApiEndpoint']}, by {deployed.api['Authorizer']} (docs/aws/api.md)", err=True)
    if deployed.signing:
        click.echo(f"try: oncegate --config {folder / 'oncegate.toml'} link KEY", err=True)


def _deployer(options: Options, profile: str, *, bundle: Bundle | None = None, is_rotating: bool = False) -> Deployer:
    from oncegate.aws.deploying.birth import note_birth
    from oncegate.aws.deploying.cloud import Cloud
    from oncegate.aws.deploying.deployer import Deployer
    from oncegate.aws.stacks.edge_code import joined_code

    def say(words: str) -> None:
        click.echo(words, err=True)

    return Deployer(
        Cloud(profile),
        options,
        code=joined_code(),
        note_birth=note_birth,
        say=say,
        bundle=bundle,
        is_rotating=is_rotating,
    )


def _show(plans: Plans, options: Options) -> None:
    for plan in plans.stacks:
        for line in _lines_of(plan):
            click.echo(line, err=True)
    if plans.is_empty:
        click.echo("nothing to change", err=True)
        return
    if plans.removes_api:
        click.echo(f"{options.api_stack:20} {options.first.region}  goes", err=True)
    if plans.sets_bucket_policy:
        click.echo(f"then the policy of {options.bucket}, for the distribution", err=True)
    monthly = " and $1.00 a month for the key" if options.signing == "kms" else ""
    click.echo(f"about $3.50 per million downloads beside traffic{monthly} (docs/aws/costs.md)", err=True)


def _lines_of(plan: Plan) -> list[str]:
    if not plan.changes:
        return [f"{plan.stack:20} {plan.region}"]
    lines = [f"{plan.stack:20} {plan.region}  {'new' if plan.is_new else 'changes'}"]
    return lines + [f"  {change.sign} {change.name:28} {change.kind.removeprefix('AWS::')}" for change in plan.changes]


def _is_wanted() -> bool:
    if not sys.stdin.isatty():
        raise Misuse("nobody can be asked here: give --yes")
    return click.confirm("Go on?", err=True)


def _say_what_is_left(options: Options, outputs: Any) -> None:
    from oncegate.aws.stacks.home import bucket_statements

    if options.domain and not options.zone:
        click.echo(f"DNS: {options.domain} is an alias (or CNAME) of {outputs['Domain']}", err=True)
    if not options.makes_bucket:
        statements = bucket_statements(options, outputs["DistributionArn"])
        click.echo(f"put these statements into the policy of {options.bucket}:", err=True)
        click.echo(json.dumps(list(statements), indent=2))


def _found(name: str, profile: str) -> Found:
    from oncegate.aws.deploying.cloud import Cloud
    from oncegate.aws.deploying.stacks import Stacks
    from oncegate.aws.stacks.options import EDGE_REGION

    found = Stacks(Cloud(profile), name, stage=str).find(f"{name}-edge", EDGE_REGION)
    if found is None or not found.is_made:
        raise Refusal(f"there is no deployment {name} in this account")
    return found


@command.command(epilog=examples("oncegate aws outputs acme"))
@click.argument("name")
@click.option("--profile", default="", help="Of the shared AWS files.")
def outputs(*, name: str, profile: str) -> None:
    """Print what the stacks of edge and API put out, as JSON: for a distribution of your own, and for scripts."""
    edge = _found(name, profile)
    click.echo(json.dumps({**_api_outputs(name, edge, profile), **edge.outputs}, indent=2, sort_keys=True))


def _api_outputs(name: str, edge: Found, profile: str) -> Mapping[str, str]:
    from oncegate.aws.deploying.cloud import Cloud
    from oncegate.aws.deploying.removal import homes_of
    from oncegate.aws.deploying.stacks import Stacks

    found = Stacks(Cloud(profile), name, stage=str).find(f"{name}-api", homes_of(edge)[0].region)
    return found.outputs if found else {}


@command.command(epilog=examples("oncegate aws status acme", "oncegate aws status acme --distribution E2EXAMPLE"))
@click.argument("name")
@click.option("--distribution", metavar="ID", default="", help="One of your own that carries the function.")
@click.option("--profile", default="", help="Of the shared AWS files.")
@click.pass_context
def status(ctx: click.Context, *, name: str, distribution: str, profile: str) -> None:
    """Say what stands: stacks, code, keys, ledgers, behaviours; exit 1 where a part is not as it is to be."""
    from oncegate.aws.deploying.checks import checks_of
    from oncegate.aws.deploying.cloud import Cloud
    from oncegate.aws.stacks.edge_code import joined_code

    is_well = True
    edge = _found(name, profile)
    for check in checks_of(Cloud(profile), name, edge, code=joined_code(), distribution=distribution):
        is_well = is_well and check.is_well
        click.echo(f"{'ok' if check.is_well else 'WRONG':6}{check.part:10}{check.words}".rstrip())
    ctx.exit(0 if is_well else 1)


@command.command(epilog=examples("oncegate aws rotate start acme", "oncegate aws rotate switch acme"))
@click.argument("step", type=click.Choice(["start", "switch", "finish"]))
@click.argument("name")
@click.option("--folder-here", "here", type=click.Path(path_type=Path, file_okay=False),
              help="Where the configuration is.  [default: ./NAME]")  # fmt: skip
@click.option("--profile", default="", help="Of the shared AWS files.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rotate(*, step: str, name: str, here: Path | None, profile: str, yes: bool) -> None:
    """Exchange the signing key: start trusts another one, switch signs with it, finish trusts the old one no more.

    Finish refuses as long as a link that the old key signed may be alive: [links] max_lifetime after the switch.
    """
    import dataclasses
    import time

    from oncegate.aws.deploying.cloud import Cloud
    from oncegate.aws.deploying.standing import standing_options
    from oncegate.aws.deploying.written import write_configuration

    folder = here or Path(name)
    options = standing_options(Cloud(profile), f"{name}-edge")
    if options is None or options.signing != "kms":
        raise Refusal(f"there is no deployment {name} in this account whose key is in KMS")
    now_s = int(time.time())
    rotation = options.rotation
    match step:
        case "start":
            rotation = rotation.started()
        case "switch":
            rotation = rotation.switched(now_s=now_s)
        case _:
            rotation = rotation.finished(now_s=now_s, max_lifetime_s=_max_lifetime_s(folder))
    options = dataclasses.replace(options, rotation=rotation)
    deployer = _deployer(options, profile, is_rotating=True)
    plans = deployer.plan()
    _show(plans, options)
    if not yes and not _is_wanted():
        deployer.discard(plans)
        return
    for path in write_configuration(folder, options, deployer.apply(plans)):
        click.echo(f"wrote {path}", err=True)


def _max_lifetime_s(folder: Path) -> int:
    """As the configuration says; the usual where there is none here."""
    from oncegate.settings import Settings, load

    config = folder / "oncegate.toml"
    return (load(config, {}) if config.exists() else Settings()).links.max_lifetime_s


@command.command(epilog=examples("oncegate aws destroy acme", "oncegate aws destroy acme --with table --with key"))
@click.argument("name")
@click.option("--home", "homes", multiple=True, metavar="[NAME=]REGION",
              help="Where the edge's stack is gone and cannot say it any more.")  # fmt: skip
@click.option("--with", "named", multiple=True, type=click.Choice(["table", "bucket", "key"]),
              help="What else goes: it holds data, and stays unless it is named.")  # fmt: skip
@click.option("--profile", default="", help="Of the shared AWS files.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def destroy(*, name: str, homes: Sequence[str], named: Sequence[str], profile: str, yes: bool) -> None:
    """Take a deployment away. Table, bucket and key stay unless each is named; links end at once."""
    from oncegate.aws.deploying.cloud import Cloud
    from oncegate.aws.deploying.removal import Removal, homes_of

    places = read_homes(homes) if homes else homes_of(_found(name, profile))
    if not yes:
        click.echo(f"{name}: its links end at once; gone for good: {', '.join(named) or 'no data'}", err=True)
        if not _is_wanted():
            return
    Removal(Cloud(profile), name, say=lambda words: click.echo(words, err=True)).run(places, named)


@command.command(epilog=examples("oncegate aws dev", "oncegate aws dev --deployment acme"))
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default="oncegate-dev")
@click.option("--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, help="0: a free one.")
@click.option("--deployment", metavar="NAME", default="", help="Serve this one's template, code, keys and bucket.")
@click.option("--profile", default="", help="Of the shared AWS files.")
def dev(*, folder: Path, port: int, deployment: str, profile: str) -> None:
    """Serve links on localhost as CloudFront and the edge function would, until it is stopped.

    Without --deployment it needs no account: key, template, function, table and bucket are here, and the files in
    DIR/objects are the objects. What is stored in table and bucket is gone at the end.
    """
    if deployment:
        _serve_deployed(deployment, profile, port)
        return
    from oncegate.aws.dev import Dev

    running = _listening(lambda: Dev(folder, port=port), port)
    try:
        _say_how_to_try(running.config)
        running.served.wait()
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
    finally:
        running.close()


_Running = TypeVar("_Running")


def _listening(start: Callable[[], _Running], port: int) -> _Running:
    try:
        return start()
    except OSError as error:
        raise Misuse(f"port {port}: {error.strerror}: name another with --port") from None


def _say_how_to_try(config: Path) -> None:
    from oncegate.library.signer import Signer

    signer = Signer.from_config(config)
    click.echo(f"dev ready; configuration {config}; in another shell:", err=True)
    click.echo(f"curl '{signer.download('hello.txt').url}'")
    click.echo(f"curl -T FILE '{signer.upload('inbox/file').url}'")
    click.echo(f"a second time: 403. More: oncegate --config {config} link KEY", err=True)


def _serve_deployed(name: str, profile: str, port: int) -> None:
    from oncegate.aws.deploying.cloud import Cloud, SaidNo
    from oncegate.aws.referee.deployed import serve_deployed

    try:
        served = _listening(lambda: serve_deployed(Cloud(profile), name, port=port), port)
    except SaidNo as no:
        raise Refusal(f"there is no deployment {name} in this account ({no.code})") from None
    try:
        click.echo(f"dev ready: {served.domain} answers at http://127.0.0.1:{served.port}", err=True)
        click.echo(
            f"curl --connect-to {served.domain}:80:127.0.0.1:{served.port} 'http://...' for its https:// links",
            err=True,
        )
        served.wait()
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
    finally:
        served.close()
