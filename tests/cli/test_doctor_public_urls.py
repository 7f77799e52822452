"""``oncegate doctor`` and the public URLs: whose gateway answers there, and who can reach it."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator

import pytest

from oncegate.testing.installation import Installation


@pytest.fixture
def homes(tmp_path: pathlib.Path) -> Iterator[tuple[Installation, Installation]]:
    """Give an installation that is served, and another that is not."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    ours, theirs = Installation(tmp_path / "ours"), Installation(tmp_path / "theirs")
    with ours.serve():
        yield ours, theirs


def checks(home: Installation, name: str, **environ: str) -> list[dict[str, str]]:
    """What doctor finds of one part."""
    done = home.run("doctor", "--json", environ=environ)
    return [check for check in json.loads(done.stdout)["checks"] if check["name"] == name]


def test_our_own_gateway_is_told(homes: tuple[Installation, Installation]) -> None:
    """A HEAD of a link for what is not there: nothing is used up, and nothing is stored."""
    (found,) = checks(homes[0], "public URL")
    assert (found["state"], found["words"]) == ("ok", f"{homes[0].public_url} serves links of this installation")
    assert homes[0].run("links").stdout == ""


@pytest.mark.parametrize("confirm", ["always", "never"])
def test_it_is_told_whatever_is_asked_of_people(tmp_path: pathlib.Path, confirm: str) -> None:
    """With ``confirm = "always"`` a program gets no object; that there is none it learns all the same."""
    home = Installation(tmp_path, tables={"viewer": {"confirm": confirm}})
    with home.serve():
        (found,) = checks(home, "public URL")
        assert found["state"] == "ok"


def test_a_gateway_of_another_installation_is_a_fault(homes: tuple[Installation, Installation]) -> None:
    """It answers like an oncegate, and refuses every link that is signed here."""
    (found,) = checks(homes[1], "public URL", ONCEGATE_VIEWER__PUBLIC_URL=homes[0].public_url)
    assert found["state"] == "failed"
    assert "it is another installation's" in found["words"]


def test_without_a_signing_key_it_is_not_asked_whose_it_is(homes: tuple[Installation, Installation]) -> None:
    """A gateway that only verifies has nothing to sign a probe with."""
    url = homes[0].public_url
    (found,) = checks(homes[1], "public URL", ONCEGATE_VIEWER__PUBLIC_URL=url, ONCEGATE_KEYS__SIGNING="")
    assert (found["state"], "no key signs here" in found["words"]) == ("ok", True)


@pytest.mark.parametrize(
    ("listen", "url", "is_warned"),
    [
        ("0.0.0.0:8080", "http://127.0.0.1:1", True),
        ("[::]:8080", "http://localhost:1", True),
        ("0.0.0.0:8080", '["http://127.0.0.1:1", "http://files.example:1"]', False),
        ("127.0.0.1:8080", "http://127.0.0.1:1", False),
    ],
)
def test_links_that_only_this_machine_can_open_are_warned_of(
    tmp_path: pathlib.Path, listen: str, url: str, is_warned: bool
) -> None:
    """Who listens everywhere wants to be reached, and a link to 127.0.0.1 leads everybody to their own machine."""
    home = Installation(tmp_path)
    found = checks(home, "configuration", ONCEGATE_VIEWER__LISTEN=listen, ONCEGATE_VIEWER__PUBLIC_URL=url)
    warned = [check for check in found if "nobody else can use them" in check["words"]]
    assert [check["state"] for check in warned] == (["warning"] if is_warned else [])


def test_a_unix_socket_whose_peers_nobody_trusts_is_warned_of(tmp_path: pathlib.Path) -> None:
    """Its viewers have no address, which one sees when the first link for one network is refused."""
    home = Installation(tmp_path)
    found = checks(home, "configuration", ONCEGATE_VIEWER__LISTEN="unix:./a.sock")
    (warned,) = (check for check in found if "have no address" in check["words"])
    assert '"unix:" in [viewer] trusted_proxies' in warned["remedy"]


def test_unix_peers_that_are_trusted_and_may_be_anybody_are_warned_of(tmp_path: pathlib.Path) -> None:
    """Every program of the machine could name an address of its choice."""
    home = Installation(tmp_path)
    names = {"LISTEN": "unix:./a.sock", "SOCKET_MODE": "666", "TRUSTED_PROXIES": "unix:"}
    found = checks(home, "configuration", **{f"ONCEGATE_VIEWER__{name}": value for name, value in names.items()})
    (warned,) = (check for check in found if "every user of this machine" in check["words"])
    assert 'socket_mode = "660"' in warned["remedy"]
