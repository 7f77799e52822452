"""Programs that people use on a link still do what docs/clients.md says of them."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from clients import CLIENTS, SIZE_BYTES, Client, Trial, programs, read_page
from oncegate.testing.installation import Installation

PARTS = pathlib.Path(__file__).parents[2] / ".parts"

pytestmark = [pytest.mark.xdist_group("clients"), pytest.mark.timeout(150)]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """One gateway for all clients."""
    made = Installation(tmp_path_factory.mktemp("gate"))
    with made.serve():
        yield Trial(made=made, programs=programs(PARTS), folder=tmp_path_factory.mktemp("saved"))


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_client_does_what_the_page_says(trial: Trial, client: Client) -> None:
    """The page is what people choose a program by; a change of ours that one of them minds shows here."""
    said = trial.version_of(client)
    version, verdict = read_page()[client.name]
    found = trial.judge(client)
    assert float(found.sent) <= 1.5 * client.uses
    # how much is sent again after a break depends on what was under way
    assert (found.whole, found.second) == (verdict.whole, verdict.second), f"{said}; the page is of {version}"
    assert found.resumes == verdict.resumes, f"{said}; the page is of {version}"


def test_the_page_has_a_row_for_each_client_and_none_yields_more_than_its_bound() -> None:
    """One use is at most the object and half of it again, counted on the wire in every run."""
    rows, uses = read_page(), {client.name: client.uses for client in CLIENTS}
    assert list(rows) == list(uses)
    assert SIZE_BYTES // 2 <= 16 * 1024 * 1024
    assert [name for name, (_, verdict) in rows.items() if float(verdict.sent) > 1.5 * uses[name]] == []
    assert [name for name, (_, verdict) in rows.items() if verdict.second != "nothing"] == []
