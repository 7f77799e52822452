"""The image and the manifests for Kubernetes, as far as they can be tried without a container engine or a cluster."""

from __future__ import annotations

import pathlib
import shlex
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml

from image import DOCKERFILE, instructions
from oncegate.cli.main import COMMANDS
from oncegate.control.app import openapi_document
from oncegate.keys.folder import KeyFolder
from oncegate.keys.pem import new_key_pair
from oncegate.service.gateway import SETTLE_MIN_S
from oncegate.settings import Settings, load

ROOT = pathlib.Path(__file__).parents[2]
MANIFESTS = ROOT / "deploy" / "kubernetes" / "oncegate.yaml"
SCRIPTS = pathlib.Path(sys.executable).parent


def objects(kind: str) -> list[dict[str, Any]]:
    """The objects of one kind."""
    documents = yaml.safe_load_all(MANIFESTS.read_text())
    return [document for document in documents if document["kind"] == kind]


def test_hadolint_finds_nothing() -> None:
    """Unpinned packages, a missing pipefail, root at the end: what reviewers of images look for."""
    done = subprocess.run([SCRIPTS / "hadolint", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_a_user_without_rights_and_serves() -> None:
    """The last stage decides: its user, its command, the signal that stops it."""
    last = dict(instructions())
    assert last["USER"] == "10001:10001"
    assert last["ENTRYPOINT"] == '["oncegate"]'
    assert shlex.split(last["CMD"].strip('[]"'))[0] in COMMANDS
    assert last["STOPSIGNAL"] == "SIGTERM"


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_the_first_stage_makes_an_environment_that_runs_the_demo(tmp_path: pathlib.Path) -> None:
    """A file that ``COPY`` lacks, or an extra that the lock file does not know, would end every build."""
    (run,) = (rest for word, rest in instructions()[: _second_stage()] if word == "RUN")
    (tmp_path / "build").mkdir()
    for word, rest in instructions()[: _second_stage()]:
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                place = tmp_path / "build" / target
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, place)
                else:
                    shutil.copy(ROOT / source, place)
    script = run.replace("/opt/", f"{tmp_path}/opt/").replace("python -m venv", f"{sys.executable} -m venv")
    done = subprocess.run(
        ["sh", "-euc", script], cwd=tmp_path / "build", capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stderr
    demo = subprocess.run(
        [tmp_path / "opt" / "oncegate" / "bin" / "oncegate", "demo", "--exit"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert demo.returncode == 0, demo.stderr


def _second_stage() -> int:
    return [number for number, (word, _) in enumerate(instructions()) if word == "FROM"][1]


def test_the_manifests_are_of_the_schema() -> None:
    """A key at the wrong depth is dropped in silence by older clusters, and refused by newer ones."""
    done = subprocess.run(
        [SCRIPTS / "kubernetes-validate", "--strict", MANIFESTS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def settings() -> Settings:
    """The settings of a pod, its secret filled in."""
    (config,) = objects("ConfigMap")
    secret = {"ONCEGATE_LEDGER__URL": "postgresql://oncegate:secret@db/oncegate", "SIGNING_PEM": "..."}
    (deployment,) = objects("Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    own = {entry["name"]: entry["value"] for entry in container["env"]}
    data = {
        name: value.replace("BUCKET", "bucket").replace("FILES.EXAMPLE", "files.example")
        for name, value in config["data"].items()
    }
    return load(None, {**data, **secret, **own})


def test_the_pods_have_settings_that_load() -> None:
    """A setting that was renamed would stop every pod at its start."""
    found = settings()
    assert found.viewer.public_url == ("https://files.example",)
    assert found.keys.signing == "env:SIGNING_PEM"
    for kind in ("Deployment", "Job"):
        (owner,) = objects(kind)
        (container,) = owner["spec"]["template"]["spec"]["containers"]
        assert container["args"][0] in COMMANDS


def test_a_pod_is_given_the_time_that_stopping_takes() -> None:
    """Killed earlier, it would cost the uses that were being downloaded."""
    (deployment,) = objects("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    drain_s = settings().viewer.drain_s
    pre_stop_s = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > pre_stop_s + drain_s + max(drain_s, SETTLE_MIN_S)


def test_each_probe_asks_for_a_path_that_exists() -> None:
    """A probe of a wrong path restarts a healthy gateway for ever."""
    (deployment,) = objects("Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in openapi_document()["paths"]


def test_keys_as_kubernetes_mounts_them_are_read(tmp_path: pathlib.Path) -> None:
    """A mounted ConfigMap is a folder of links to links: ``K1.pem -> ..data/K1.pem``, ``..data -> ..2026_...``."""
    stamped = tmp_path / "..2026_11_28_00_00_00.1"
    stamped.mkdir()
    (stamped / "K1.pem").write_bytes(new_key_pair("ecdsa")[1])
    (tmp_path / "..data").symlink_to(stamped.name)
    (tmp_path / "K1.pem").symlink_to("..data/K1.pem")
    assert list(KeyFolder(tmp_path).group) == ["K1"]


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_no_pod_has_rights_that_it_does_not_need(kind: str) -> None:
    """The gateway faces the public."""
    (owner,) = objects(kind)
    pod = owner["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container["resources"]["limits"]
