"""Where AWS credentials come from, and that no request waits for them twice."""

import pathlib

import pytest

from oncegate.aws_requests import credentials as aws_credentials
from oncegate.aws_requests.credentials import LOOK_AGAIN_S, ChainCredentials, NoCredentials


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """No credentials of this machine."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.mark.anyio
async def test_the_chain_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """Files and variables work as with every AWS tool; a token comes along."""
    (tmp_path / "credentials").write_text("[other]\naws_access_key_id=AKID\naws_secret_access_key=s\n")
    found = await ChainCredentials("other").current()
    assert (found.access_key_id, found.secret, found.token) == ("AKID", "s", "")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert (await ChainCredentials().current()).token == "token"


@pytest.mark.anyio
async def test_none_at_all_is_said() -> None:
    """The operator reads what to set."""
    with pytest.raises(NoCredentials, match="AWS_ACCESS_KEY_ID"):
        await ChainCredentials().current()


@pytest.mark.anyio
async def test_without_botocore_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain is an extra."""

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"no {name}", name=name)

    monkeypatch.setattr(aws_credentials.importlib, "import_module", missing)
    with pytest.raises(NoCredentials, match="botocore"):
        await ChainCredentials().current()


@pytest.mark.anyio
async def test_a_later_look_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role's credentials change under way: the old ones serve until the new ones are there."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "FIRST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    now_s = 0.0
    chain = ChainCredentials(monotonic=lambda: now_s)
    assert (await chain.current()).access_key_id == "FIRST"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SECOND")
    chain._chain = None
    now_s = LOOK_AGAIN_S
    assert (await chain.current()).access_key_id == "FIRST"
    assert chain._looking is None
    now_s = LOOK_AGAIN_S + 1
    assert (await chain.current()).access_key_id == "FIRST"
    await chain.aclose()
    assert (await chain.current()).access_key_id == "SECOND"
