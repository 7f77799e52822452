"""``get`` and ``put`` through the real gateway, over connections that break."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from bad_server import Cutter

from oncegate.cli.commands.get import download
from oncegate.cli.main import Refusal
from oncegate.cli.transfer.answers import Patience
from oncegate.links.grant import Operation, Scheme
from oncegate.testing.installation import Installation, Serving

BODY = bytes(range(256)) * 80_000  # 20 MB: more than what socket buffers hold


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A folder with one large object."""
    made = Installation(tmp_path_factory.mktemp("gate"), credentials={"AKIDEXAMPLE": "secret"})
    made.put("big.bin", BODY)
    return made


@pytest.fixture(scope="module")
def gateway(installation: Installation) -> Iterator[Serving]:
    """It serves."""
    with installation.serve() as serving:
        yield serving


def test_a_link_downloads_once(run, installation: Installation, gateway: Serving, tmp_path: pathlib.Path) -> None:
    """Saved under the name that is signed; the second time there are words and no byte."""
    url = installation.link("big.bin", filename="Große Datei.bin")
    first = run("get", url, "-o", f"{tmp_path}/")
    assert (first.returncode, first.stdout) == (0, f"{tmp_path}/Große Datei.bin\n")
    assert (tmp_path / "Große Datei.bin").read_bytes() == BODY
    second = run("get", url, "-o", f"{tmp_path}/")
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == "This link has been used. (403)\n"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_for_a_person_says_so_and_leaves_nothing(
    run, installation: Installation, gateway: Serving, tmp_path: pathlib.Path
) -> None:
    """It blamed the method; and what was prepared for the file must go."""
    done = run("get", installation.link("big.bin", confirm="always"), "-o", f"{tmp_path}/")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Open this link in a browser: a person is asked before it is used. (403)\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", [Scheme.CANNED, Scheme.S3])
def test_a_broken_download_ends_whole_as_one_use(
    installation: Installation, gateway: Serving, tmp_path: pathlib.Path, scheme: Scheme
) -> None:
    """Cut in the middle: the rest comes to the holder, and the use is counted once."""
    url = installation.link("big.bin", scheme=scheme)
    # HEAD comes over the first connection; the object over the next
    with Cutter(installation.port, [None, 7_000_000]).running() as cutter:
        through = url.replace(installation.public_url, cutter.url)
        path = download(through, f"{tmp_path}/x.bin", is_forced=False, patience=Patience(pause_first_s=0.05))
    assert pathlib.Path(path).read_bytes() == BODY
    status = installation.run("status", url)
    assert "claimed" in status.stdout
    assert "uses      1 of 1 taken" in status.stdout


def test_another_run_goes_on_where_the_first_was_cut(
    installation: Installation, gateway: Serving, tmp_path: pathlib.Path
) -> None:
    """The cookie beside the part proves whose claim it is."""
    url = installation.link("big.bin")
    with Cutter(installation.port, [None, 7_000_000]).running() as cutter:
        through = url.replace(installation.public_url, cutter.url)
        with pytest.raises(Refusal, match="goes on from there"):
            download(through, f"{tmp_path}/x.bin", is_forced=False, patience=Patience(attempts_max=1))
        left = (tmp_path / "x.bin.part").stat().st_size
        assert 0 < left < 7_000_000
        path = download(through, f"{tmp_path}/x.bin", is_forced=False, patience=Patience(pause_first_s=0.05))
    assert pathlib.Path(path).read_bytes() == BODY


@pytest.mark.parametrize("scheme", [Scheme.CANNED, Scheme.S3])
def test_an_upload_link_takes_one_file(
    run, installation: Installation, gateway: Serving, tmp_path: pathlib.Path, scheme: Scheme
) -> None:
    """The checksum goes with it, under both schemes; the second file is refused in words."""
    (tmp_path / "a.png").write_bytes(BODY[:3_000_000])
    key = f"in/{scheme.value}.png"
    url = installation.link(key, operation=Operation.PUT, scheme=scheme, media_type="image/*")
    first = run("put", str(tmp_path / "a.png"), url)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith('"')
    assert (installation.objects / key).read_bytes() == BODY[:3_000_000]
    second = run("put", str(tmp_path / "a.png"), url)
    assert second.returncode == 1
    assert second.stderr == "This link has been used. (403)\n"


def test_the_wrong_way_round_is_refused_in_words(
    run, installation: Installation, gateway: Serving, tmp_path: pathlib.Path
) -> None:
    """A download link takes no upload, an upload link gives nothing; neither is spent."""
    (tmp_path / "a").write_bytes(b"x")
    down, up = installation.link("big.bin"), installation.link("new", operation=Operation.PUT)
    assert "does not allow this method. (403)" in run("put", str(tmp_path / "a"), down).stderr
    assert "does not allow this method. (403)" in run("get", up, "-o", f"{tmp_path}/b").stderr
    assert installation.run("explain", down).returncode == 0
    assert installation.run("explain", up).returncode == 0


def test_the_doctor_finds_the_gateway(installation: Installation, gateway: Serving) -> None:
    """Where something serves, it is asked."""
    found = installation.run("doctor")
    assert f"ok       public URL     {installation.public_url} serves links" in found.stdout
    assert urlsplit(gateway.viewer_url).port == installation.port
