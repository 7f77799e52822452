"""Opening the signing key: a path or a variable, matched with the key group."""

from pathlib import Path

import pytest

from oncegate.keys.folder import KeyFolder
from oncegate.keys.pem import KeyUnfit, load_public_key, new_key_pair
from oncegate.keys.signing import open_signing_key

PRIVATE, PUBLIC = new_key_pair("ecdsa")
OTHER_PRIVATE, OTHER_PUBLIC = new_key_pair("ecdsa")


@pytest.fixture
def group(tmp_path: Path) -> KeyFolder:
    """Give a group that holds one key as K1, whose private half lies in private/K1.pem."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "private").mkdir()
    (tmp_path / "keys" / "K1.pem").write_bytes(PUBLIC)
    (tmp_path / "private" / "K1.pem").write_bytes(PRIVATE)
    return KeyFolder(tmp_path / "keys")


def refusal(spec: str, folder: Path, group: KeyFolder, **environ: str) -> str:
    """Return the message with which a signing key is refused."""
    with pytest.raises(KeyUnfit) as caught:
        open_signing_key(spec, folder, environ, group=group)
    assert PRIVATE.splitlines()[1].decode() not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("spec", ["./private/K1.pem", "private/K1.pem", "{tmp}/private/K1.pem"])
def test_a_path_is_relative_to_the_configuration(tmp_path: Path, group: KeyFolder, spec: str) -> None:
    """The key signs under its id, and the group verifies it."""
    key = open_signing_key(spec.format(tmp=tmp_path), tmp_path, {}, group=group)
    assert key.key_id == "K1"
    public = group.group.get("K1")
    assert public is not None
    assert public.verify(key.sign(b"x", "SHA256"), b"x", "SHA256")


@pytest.mark.parametrize("text", [PRIVATE.decode(), PRIVATE.decode().replace("\n", "\\n")])
def test_a_key_in_a_variable_goes_by_the_id_of_its_public_half(tmp_path: Path, group: KeyFolder, text: str) -> None:
    """Some places that keep variables write line breaks as backslash and n."""
    assert open_signing_key("env:MY_KEY", tmp_path, {"MY_KEY": text}, group=group).key_id == "K1"


def test_the_id_comes_from_the_group_and_not_from_the_name_of_the_file(tmp_path: Path, group: KeyFolder) -> None:
    """A link under another id would be verified with another key, or with none."""
    (tmp_path / "private" / "signing.pem").write_bytes(PRIVATE)
    assert open_signing_key("private/signing.pem", tmp_path, {}, group=group).key_id == "K1"


def test_of_two_ids_for_one_key_the_name_of_the_file_decides(tmp_path: Path, group: KeyFolder) -> None:
    """CloudFront gives the key an id of its own while the first is still in use."""
    for name in ("A1", "K2"):
        (group.path / f"{name}.pem").write_bytes(PUBLIC)
    (tmp_path / "private" / "K2.pem").write_bytes(PRIVATE)
    group.refresh()
    assert open_signing_key("private/K2.pem", tmp_path, {}, group=group).key_id == "K2"
    assert open_signing_key("env:KEY", tmp_path, {"KEY": PRIVATE.decode()}, group=group).key_id == "A1"


def test_a_key_whose_public_half_is_not_in_the_group_is_refused(tmp_path: Path, group: KeyFolder) -> None:
    """Its links would all be answered with 403; the message names file, group and remedy."""
    (tmp_path / "private" / "K1.pem").write_bytes(OTHER_PRIVATE)
    said = refusal("private/K1.pem", tmp_path, group)
    assert f"{tmp_path}/private/K1.pem: its public half is not in the key group {tmp_path}/keys" in said
    assert "put it there as <key id>.pem ('openssl pkey -pubout' prints it)" in said
    assert load_public_key(OTHER_PUBLIC).spki_sha256 != load_public_key(PUBLIC).spki_sha256


def test_each_place_without_a_key_is_named(tmp_path: Path, group: KeyFolder) -> None:
    """Path, variable or service, and what to do."""
    (tmp_path / "private" / "bad.pem").write_bytes(b"bad")
    assert refusal("", tmp_path, group).startswith("[keys] signing is empty: name a private key")
    assert "no.pem: no such file; [keys] signing names it" in refusal("no.pem", tmp_path, group)
    assert "private: cannot be read: Is a directory" in refusal("private", tmp_path, group)
    assert "bad.pem: this cannot be read as a private key" in refusal("private/bad.pem", tmp_path, group)
    assert "keys/K1.pem: this is a public key: signing needs" in refusal("keys/K1.pem", tmp_path, group)
    assert refusal("env:NO", tmp_path, group).startswith("NO: no such variable, or an empty one")
    assert refusal("env:NO", tmp_path, group, NO="").startswith("NO: no such variable, or an empty one")
    assert refusal("env:BAD", tmp_path, group, BAD="bad").startswith("BAD: this cannot be read as a private key")


@pytest.mark.parametrize("spec", ["kms:arn:aws:x", "kms:K1", "kms:arn:aws:s3:eu-west-1:111122223333:key/a"])
def test_a_key_of_kms_is_named_by_its_arn(tmp_path: Path, group: KeyFolder, spec: str) -> None:
    """Taken for a path it would say "no such file", which sends people looking in the wrong place."""
    assert "is no ARN of kms: such as arn:aws:kms:" in refusal(spec, tmp_path, group)


@pytest.mark.parametrize("service", ["kms", "secretsmanager", "ssm"])
def test_a_service_that_does_not_answer_is_said(tmp_path: Path, group: KeyFolder, service: str) -> None:
    """A signer that hangs, or a traceback of a socket, says nothing of the key."""
    spec = f"{service}:arn:aws:{service}:eu-west-1:111122223333:key/a"
    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    assert f"{service} in eu-west-1 did not answer" in refusal(spec, tmp_path, group, **nobody)


def test_the_name_of_a_parameter_needs_a_region(tmp_path: Path, group: KeyFolder) -> None:
    """An ARN holds it, a name does not."""
    assert "no Region is known: set AWS_REGION" in refusal("ssm:/acme/key", tmp_path, group)
