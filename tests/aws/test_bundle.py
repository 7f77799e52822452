"""The API's code as it is packed: what goes into it, what it is called by, and what is refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from oncegate.aws.deploying import bundle
from oncegate.aws.deploying.bundle import BundleUnfit, GivenBundle, OwnBundle, requirements


def test_it_is_called_by_what_goes_into_it() -> None:
    """Whether another one is needed must be known before anything is fetched; the same installation has the same."""
    assert OwnBundle().key == OwnBundle().key
    assert OwnBundle().key != OwnBundle(python="3.12").key


def test_another_version_of_a_library_is_another_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a library that was mended would never reach the function."""
    before = OwnBundle().key
    pins = dict(bundle._pins())
    monkeypatch.setattr(bundle, "_pins", lambda: {**pins, "cryptography": "0"})
    assert OwnBundle().key != before


def test_it_requires_what_the_function_imports_and_no_server() -> None:
    """The command line and the gateway's server stay out of it, and of another ledger's driver."""
    names = {bundle._name_of(each) for each in requirements()}
    assert {"cryptography", "fastapi", "obstore"} <= names
    assert not names & {"httptools", "click", "rich", "uvloop", "botocore", "asyncpg", "redis"}


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """A function without its handler would fail at the first call, when everything stands."""
    path = tmp_path / "a.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(BundleUnfit, match="no bundle"):
        GivenBundle(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("index.py", "")
    with pytest.raises(BundleUnfit, match="no bundle"):
        GivenBundle(path)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("oncegate/service/api_function.py", "")
    path.write_bytes(packed.getvalue())
    assert GivenBundle(path).content() == packed.getvalue()
    assert GivenBundle(path).key == GivenBundle(path).key


def test_without_pip_and_uv_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not a traceback: exit status 2 and three ways on."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bundle.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BundleUnfit, match="--bundle FILE"):
        OwnBundle().content()


def test_what_lambda_would_not_take_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before it is uploaded; both sides of the limit."""
    (tmp_path / "a").write_bytes(b"12345")
    monkeypatch.setattr(bundle, "UNPACKED_MAX_BYTES", 5)
    assert bundle._packed({"a": tmp_path / "a"}, tmp_path / "zip")
    monkeypatch.setattr(bundle, "UNPACKED_MAX_BYTES", 4)
    with pytest.raises(BundleUnfit, match="5 bytes"):
        bundle._packed({"a": tmp_path / "a"}, tmp_path / "zip")
