"""A running process follows ``[keys] signing``, and names every other setting that changed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from oncegate.keys.folder import KeyFolder
from oncegate.keys.following import SigningFollower
from oncegate.keys.rotation import KeyPlaces, make_key, retire_key, switch_signing
from oncegate.settings import load

NOW_S = 1_767_225_600


class Place:
    """An installation's configuration and keys, and a process that follows them."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "oncegate.toml"
        (folder / "keys").mkdir()
        self.places = KeyPlaces(folder / "keys", folder / "private")
        self.old = make_key(self.places, "ecdsa")
        self.config.write_text(f'[keys]\ngroup = "./keys"\nsigning = "./private/{self.old}.pem"\n')
        self.group = KeyFolder(self.places.group)
        self.following = self.follow()

    def follow(self, **environ: str) -> SigningFollower:
        """A process that begins now."""
        return SigningFollower(load(self.config, environ), environ, group=self.group)

    def switch(self, key_id: str) -> None:
        """What ``oncegate keys switch`` does."""
        switch_signing(self.config, self.places, key_id, old_id=self.old, environ={}, now_s=NOW_S)

    def refresh(self) -> bool:
        """What the process does every second."""
        self.group.refresh()
        return self.following.refresh()

    def id_now(self) -> str | None:
        """The id of the key that signs."""
        key = self.following.now()
        return None if key is None else key.key_id


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Give a place with one key, which signs."""
    return Place(tmp_path)


def test_a_switch_is_followed(place: Place) -> None:
    """A running control API went on signing with the old key, and its links were 403 once that was retired."""
    assert (place.refresh(), place.id_now()) == (False, place.old)
    new = make_key(place.places, "ecdsa")
    place.switch(new)
    assert (place.refresh(), place.id_now()) == (True, new)
    assert not place.refresh()
    assert place.following.changed == ()


def test_a_key_that_left_the_group_signs_nothing(place: Place) -> None:
    """Its links would be answered with 403: no link is better than one that never opens."""
    retire_key(place.places, place.old, signing_id=None, max_lifetime_s=1, now_s=NOW_S, is_forced=True)
    place.refresh()
    assert place.id_now() is None


def test_a_switch_to_what_cannot_sign_changes_nothing(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """The old key goes on, one line says why, and the new one is taken as soon as it can be."""
    new = make_key(place.places, "ecdsa")
    public = (place.places.group / f"{new}.pem").read_bytes()
    place.switch(new)
    (place.places.group / f"{new}.pem").unlink()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert not place.refresh()
    assert place.id_now() == place.old
    (record,) = caplog.records
    assert "its public half is not in the key group" in record.message
    assert record.message.endswith("new links are signed as before")
    (place.places.group / f"{new}.pem").write_bytes(public)
    assert (place.refresh(), place.id_now()) == (True, new)


def test_a_broken_configuration_changes_nothing(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is being edited is not TOML for a moment."""
    whole = place.config.read_text()
    place.config.write_text("[keys")
    with caplog.at_level(logging.ERROR):
        assert not place.refresh()
    assert "not TOML" in caplog.text
    place.config.write_text(whole)
    assert not place.refresh()
    assert place.id_now() == place.old


def test_a_variable_goes_before_the_file(place: Place) -> None:
    """As at the start: whoever set it decides, and a change of the file is no change of the key."""
    place.following = place.follow(ONCEGATE_KEYS__SIGNING=f"./private/{place.old}.pem")
    place.switch(make_key(place.places, "ecdsa"))
    assert (place.refresh(), place.id_now()) == (False, place.old)


def test_other_settings_are_named_and_not_applied(place: Place) -> None:
    """Names alone: a value may be a secret."""
    place.config.write_text(place.config.read_text() + '[viewer]\ndrain = "5s"\n[s3_credentials]\nAK = "secret"\n')
    assert not place.refresh()
    assert place.following.changed == ("viewer.drain", "s3_credentials")


def test_a_key_that_is_named_later_is_opened(tmp_path: Path) -> None:
    """A gateway that signed nothing begins to sign by the same line in the file."""
    place = Place(tmp_path)
    place.config.write_text('[keys]\ngroup = "./keys"\n')
    place.following = place.follow()
    assert place.id_now() is None
    place.switch(place.old)
    assert (place.refresh(), place.id_now()) == (True, place.old)
