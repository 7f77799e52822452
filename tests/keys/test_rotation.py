"""Rotation: new, switch, wait, retire."""

import re
import tomllib
from pathlib import Path

import pytest

from oncegate.keys.folder import KeyFolder
from oncegate.keys.pem import KeyUnfit
from oncegate.keys.rotation import KeyPlaces, list_keys, make_key, new_key_id, retire_key, switch_signing
from oncegate.keys.signing import open_signing_key

NOW_S = 1_800_000_000
WEEK_S = 604_800


@pytest.fixture
def places(tmp_path: Path) -> KeyPlaces:
    """Give an empty group and no private folder yet."""
    (tmp_path / "keys").mkdir()
    return KeyPlaces(tmp_path / "keys", tmp_path / "private")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Give a configuration with comments."""
    path = tmp_path / "oncegate.toml"
    path.write_text('# head\n[keys]\n  signing = "./private/old.pem"  # who signs\ngroup = "./keys"\n[log]\n')
    return path


def switch(config: Path, places: KeyPlaces, key_id: str, old_id: str | None = None) -> None:
    """Switch at the tests' now."""
    switch_signing(config, places, key_id, old_id=old_id, environ={}, now_s=NOW_S)


def retire(
    places: KeyPlaces, key_id: str, now_s: int, signing_id: str | None = None, *, is_forced: bool = False
) -> None:
    """Retire with links that live a week."""
    retire_key(places, key_id, signing_id=signing_id, max_lifetime_s=WEEK_S, now_s=now_s, is_forced=is_forced)


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_a_new_key_is_trusted_and_its_private_half_is_its_owners(places: KeyPlaces, kind: str) -> None:
    """0600 from the first moment on, whatever the umask is."""
    key_id = make_key(places, "rsa" if kind == "rsa" else "ecdsa")
    private = places.private / f"{key_id}.pem"
    assert private.stat().st_mode & 0o777 == 0o600
    assert places.private.stat().st_mode & 0o777 == 0o700
    signing = open_signing_key(str(private), places.private, {}, group=KeyFolder(places.group))
    assert (signing.key_id, signing.kind) == (key_id, kind)
    assert sorted(path.name for path in places.group.iterdir()) == [f"{key_id}.pem"]


def test_key_ids_look_like_those_of_cloudfront() -> None:
    """Tools check the shape, and two keys must never share an id."""
    ids = {new_key_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(re.fullmatch("K[A-Z0-9]{13}", key_id) for key_id in ids)


def test_keys_lie_beside_the_signing_key_or_in_private(tmp_path: Path) -> None:
    """A key in a variable has no folder."""
    group = tmp_path / "keys"
    assert KeyPlaces.of(group, "./secret/K1.pem", tmp_path).private == tmp_path / "secret"
    assert KeyPlaces.of(group, "/etc/og/K1.pem", tmp_path).private == Path("/etc/og")
    for signing in ("", "env:KEY", "kms:arn"):
        assert KeyPlaces.of(group, signing, tmp_path).private == tmp_path / "private"


def test_the_switch_changes_one_line_and_notes_the_time(config: Path, places: KeyPlaces) -> None:
    """Comments are the operator's; a program that drops them is not asked twice."""
    old, new = make_key(places, "ecdsa"), make_key(places, "ecdsa")
    config.chmod(0o640)
    switch(config, places, new, old)
    expected = f'# head\n[keys]\n  signing = "./private/{new}.pem"  # who signs\ngroup = "./keys"\n[log]\n'
    assert config.read_text() == expected
    assert config.stat().st_mode & 0o777 == 0o640
    states = {key.key_id: key for key in list_keys(places, new)}
    assert (states[old].stopped_s, states[old].is_signing, states[old].has_private) == (NOW_S, False, True)
    assert (states[new].stopped_s, states[new].is_signing, states[new].kind) == (None, True, "ecdsa")


def test_switching_back_forgets_that_the_key_had_stopped(config: Path, places: KeyPlaces) -> None:
    """Else it could be retired on the day after it signed its last link."""
    old, new = make_key(places, "ecdsa"), make_key(places, "ecdsa")
    switch(config, places, new, old)
    switch(config, places, old, new)
    assert {key.key_id: key.stopped_s for key in list_keys(places, None)} == {old: None, new: NOW_S}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[log]",
        "[keys]",
        "[keys] # c\n[log]\n",
        '[keys]\r\nsigning = "x"\r\n[log]\r\n',
        "[keys]\nsigning='x'#c",
        "[ keys ]\n# signing = 'old'\ngroup = 'g'\n",
        '[viewer]\nsigning = "x"\n[keys]\nsigning = "y"\n',
    ],
)
def test_every_plain_spelling_of_the_table_is_changed(config: Path, places: KeyPlaces, text: str) -> None:
    """The rest of the file means what it meant before."""
    config.write_text(text, newline="")
    key_id = make_key(places, "ecdsa")
    switch(config, places, key_id)
    before, after = tomllib.loads(text), tomllib.loads(config.read_bytes().decode())
    assert after["keys"].pop("signing") == f"./private/{key_id}.pem"
    before.setdefault("keys", {}).pop("signing", None)
    assert after == before


@pytest.mark.parametrize(
    "text",
    [
        'keys = {signing = "x"}',
        'keys.signing = "x"',
        '[keys]\n"signing" = "x"',
        '[keys]\nsigning = """x"""',
        "[log]\nx = '''\n[keys]\n'''",
        "[keys",
    ],
)
def test_odd_spellings_are_left_to_their_author(config: Path, places: KeyPlaces, text: str) -> None:
    """A file that says something else afterwards is worse than one line to write by hand."""
    config.write_text(text)
    key_id = make_key(places, "ecdsa")
    with pytest.raises(KeyUnfit, match=re.escape(f'write signing = "./private/{key_id}.pem" under [keys]')):
        switch(config, places, key_id)
    assert config.read_text() == text


def test_the_switch_needs_both_halves_and_no_variable(config: Path, places: KeyPlaces) -> None:
    """A switch without effect would be believed."""
    before = config.read_text()
    with pytest.raises(KeyUnfit, match=r"NOSUCH.pem: no such file: a key signs only when both its halves"):
        switch(config, places, "NOSUCH")
    key_id = make_key(places, "ecdsa")
    for name, text in (("ONCEGATE_KEYS__SIGNING", "env:X"), ("ONCEGATE_KEYS", '{"signing": "env:X"}')):
        with pytest.raises(KeyUnfit, match=f"{name} names the signing key and overrides"):
            switch_signing(config, places, key_id, old_id=None, environ={name: text}, now_s=NOW_S)
    (places.group / f"{key_id}.pem").unlink()
    with pytest.raises(KeyUnfit, match="both its halves"):
        switch(config, places, key_id)
    assert config.read_text() == before


def test_a_link_to_the_configuration_stays_one(config: Path, places: KeyPlaces) -> None:
    """Configuration is often linked from elsewhere."""
    link = config.with_name("link.toml")
    link.symlink_to(config)
    key_id = make_key(places, "ecdsa")
    switch(link, places, key_id)
    assert link.is_symlink()
    assert key_id in config.read_text()


def test_a_private_folder_elsewhere_is_named_whole(config: Path, places: KeyPlaces, tmp_path: Path) -> None:
    """A path with .. would change its meaning with the file's place."""
    config = config.rename(places.group / "oncegate.toml")
    key_id = make_key(places, "ecdsa")
    switch(config, places, key_id)
    assert tomllib.loads(config.read_text())["keys"]["signing"] == f"{tmp_path}/private/{key_id}.pem"


def test_a_key_is_retired_when_its_last_link_has_expired(config: Path, places: KeyPlaces) -> None:
    """Both sides of the boundary; both halves are kept."""
    old, new = make_key(places, "ecdsa"), make_key(places, "ecdsa")
    switch(config, places, new, old)
    with pytest.raises(KeyUnfit, match=rf"links signed with {old} may live until 2027-01-22T08:00:00Z: retire it then"):
        retire(places, old, NOW_S + WEEK_S - 1, new)
    retire(places, old, NOW_S + WEEK_S, new)
    assert [key.key_id for key in list_keys(places, new)] == [new]
    assert (places.group / "retired" / f"{old}.pem").exists()
    assert (places.private / "retired" / f"{old}.pem").exists()
    assert not (places.private / f"{old}.pem").exists()
    assert list(KeyFolder(places.group).group) == [new]


def test_of_a_key_whose_end_nobody_noted_the_wait_begins_now(places: KeyPlaces) -> None:
    """A switch by hand leaves no note; guessing would end links that live."""
    key_id = make_key(places, "ecdsa")
    with pytest.raises(KeyUnfit, match=rf"nobody noted when {key_id} stopped signing.*from 2027-01-22T08:00:00Z on"):
        retire(places, key_id, NOW_S)
    with pytest.raises(KeyUnfit, match="may live until 2027-01-22T08:00:00Z"):
        retire(places, key_id, NOW_S + WEEK_S - 1)
    retire(places, key_id, NOW_S + WEEK_S)


def test_force_does_not_wait(places: KeyPlaces) -> None:
    """For a key that leaked: its links are to end."""
    key_id = make_key(places, "ecdsa")
    (places.private / f"{key_id}.pem").unlink()
    retire(places, key_id, NOW_S, is_forced=True)
    assert list_keys(places, None) == []


@pytest.mark.parametrize("is_forced", [False, True])
def test_the_signing_key_and_an_unknown_key_are_never_retired(places: KeyPlaces, is_forced: bool) -> None:
    """Every link made afterwards would be refused."""
    key_id = make_key(places, "ecdsa")
    with pytest.raises(KeyUnfit, match=f"{key_id} signs new links: switch to another key first"):
        retire(places, key_id, NOW_S, key_id, is_forced=is_forced)
    for unknown in ("NOSUCH", "../private/x", ""):
        with pytest.raises(KeyUnfit, match="no such key in the group: 'oncegate keys list' shows all"):
            retire(places, unknown, NOW_S, is_forced=is_forced)
    assert (places.group / f"{key_id}.pem").exists()


def test_nothing_that_was_retired_is_overwritten(places: KeyPlaces) -> None:
    """An id that comes back is somebody's mistake, and the first key may be needed to look into it."""
    key_id = make_key(places, "ecdsa")
    (places.group / "retired").mkdir()
    (places.group / "retired" / f"{key_id}.pem").write_text("first")
    with pytest.raises(KeyUnfit, match="stands already: move it away first"):
        retire(places, key_id, NOW_S, is_forced=True)
    assert (places.group / "retired" / f"{key_id}.pem").read_text() == "first"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"stopped": {"K1": "x"}}', '{"stopped": {"K1": true}}', "\xff"])
def test_notes_that_cannot_be_read_are_an_error(places: KeyPlaces, content: str) -> None:
    """Read as "nothing noted" they would be overwritten."""
    places.private.mkdir()
    (places.private / "rotation.json").write_text(content)
    with pytest.raises(KeyUnfit, match=r"rotation.json: cannot be read"):
        list_keys(places, None)


def test_a_folder_that_cannot_be_used_is_named(places: KeyPlaces, tmp_path: Path) -> None:
    """A misspelt group must not be made anew where nobody reads it."""
    with pytest.raises(KeyUnfit, match=r"nowhere: no such folder: 'oncegate init' makes one"):
        make_key(KeyPlaces(tmp_path / "nowhere", places.private), "ecdsa")
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyUnfit, match="cannot be written"):
        make_key(KeyPlaces(places.group, tmp_path / "file"), "ecdsa")
    assert list(places.group.iterdir()) == []
