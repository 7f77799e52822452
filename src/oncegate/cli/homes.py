"""In which ledgers a link is: its ticket says so; an id alone is looked for in each home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from oncegate.cli.main import Refusal
from oncegate.cli.records import Records, with_records
from oncegate.unfit import Unfit

if TYPE_CHECKING:
    from oncegate.cli.named_link import Named
    from oncegate.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """What the homes said of a link.

    Attributes:
        homes: those whose ledger counts it; empty: no ledger has a record of it.
        silent: what was said in place of an answer, by home.
    """

    homes: Sequence[str]
    silent: Mapping[str, str]


def homes_of(settings: Settings) -> tuple[str, ...]:
    """Return every home of an installation; the empty name is its own."""
    return ("", *settings.ledger.homes)


def look_for(named: Named, settings: Settings) -> Whereabouts:
    """Find the ledgers of a link; reads records only where a link is named by its id and there are several homes."""
    if named.grant is not None:
        return Whereabouts(homes=(named.grant.home,), silent={})
    if not settings.ledger.homes:
        return Whereabouts(homes=("",), silent={})
    found: list[str] = []
    silent: dict[str, str] = {}

    async def has_record(records: Records) -> bool:
        from oncegate.control.recording import read_record

        return await read_record(records.runner, named.link_id) is not None

    for home in homes_of(settings):
        try:
            if with_records(settings, has_record, home=home):
                found.append(home)
        except (Refusal, Unfit) as fault:
            silent[home] = str(fault)
    return Whereabouts(homes=found, silent=silent)


def one_home(named: Named, settings: Settings) -> str:
    """Return the home of a link; of one that no ledger knows, the installation's own.

    Raises:
        Refusal: no ledger that answers has a record of it, and not all answer.
    """
    where = look_for(named, settings)
    tell(where.silent)
    if where.homes:
        return where.homes[0]
    if where.silent:
        raise Refusal("no ledger that answers has a record of this link: try again, or name it by its URL")
    return ""


def tell(silent: Mapping[str, str]) -> None:
    """Say on stderr which homes did not answer."""
    for home, words in silent.items():
        click.echo(f"{f'home {home}' if home else 'the own ledger'}: {words}", err=True)
