"""What lies in deploy/ is read by the programs that it names, as far as they can be had here."""

from __future__ import annotations

import configparser
import json
import pathlib
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from oncegate.cli.main import COMMANDS
from oncegate.service.gateway import SETTLE_MIN_S
from oncegate.settings import load
from oncegate.settings.sockets import SystemdSocket
from oncegate.settings.tables import ViewerSettings

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "oncegate.service"


def unit() -> dict[str, dict[str, list[str]]]:
    """The unit's sections; a key may stand twice."""
    sections: dict[str, dict[str, list[str]]] = {}
    name = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            name = line.strip("[]")
        elif "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            sections.setdefault(name, {}).setdefault(key, []).append(value)
    return sections


def test_the_unit_is_a_unit() -> None:
    """Three sections, no key outside of one, nothing that only systemd's parser would find."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys of units have capitals
    parser.read(UNIT)
    assert parser.sections() == ["Unit", "Service", "Install"]


def test_the_unit_runs_a_command_that_exists_and_waits_for_it_to_end() -> None:
    """Killed earlier than it settles, a stop would cost the uses that were being downloaded."""
    service = unit()["Service"]
    program, option, config, command = service["ExecStart"][0].split()
    assert (pathlib.Path(program).name, option) == ("oncegate", "--config")
    assert command in COMMANDS
    assert config.startswith(f"{service['WorkingDirectory'][0]}/")
    assert int(service["TimeoutStopSec"][0]) > ViewerSettings().drain_s + max(ViewerSettings().drain_s, SETTLE_MIN_S)
    assert service["RestartPreventExitStatus"] == ["2"]


@pytest.mark.parametrize(
    "key",
    [
        "NoNewPrivileges",
        "ProtectSystem",
        "ProtectHome",
        "PrivateTmp",
        "PrivateDevices",
        "CapabilityBoundingSet",
        "SystemCallFilter",
        "MemoryMax",
    ],
)
def test_the_unit_is_hardened(key: str) -> None:
    """The gateway faces the public: it gets its own folder, the network and some memory, and nothing else."""
    assert key in unit()["Service"]


def test_systemd_finds_nothing_but_the_missing_program() -> None:
    """A key that is misspelt is only warned of, and then ignored; where there is no systemd, its parser's rules do."""
    if shutil.which("systemd-analyze") is None:
        assert all(re.fullmatch(r"[A-Z][A-Za-z]+", key) for section in unit().values() for key in section)
        return
    command = ["systemd-analyze", "verify", str(UNIT), str(UNIT.with_suffix(".socket"))]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    wrong = [line for line in found.stderr.splitlines() if UNIT.stem in line and "is not executable" not in line]
    assert not wrong


def test_the_socket_unit_has_the_name_that_its_words_give_the_setting() -> None:
    """Under another name the gateway would end at its start; and it is the service's by its file's name."""
    path = DEPLOY / "oncegate.socket"
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys of units have capitals
    parser.read(path)
    assert parser.sections() == ["Unit", "Socket", "Install"]
    listen = SystemdSocket(parser["Socket"]["FileDescriptorName"])
    assert f'listen = "{listen}"' in path.read_text()
    assert f'listen =\n"{listen}"' in (DEPLOY.parent / "docs/guides/operate.md").read_text()
    assert path.stem == UNIT.stem
    assert "Accept" not in parser["Socket"]


@pytest.fixture
def compose() -> dict[str, Any]:
    """The compose file, its variables filled in."""
    text = (DEPLOY / "compose.yaml").read_text()
    document: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{\w+:\?[^}]*\}", "a-secret", text))
    return document


def test_the_gateways_of_the_compose_file_have_settings_that_load(compose: dict[str, Any]) -> None:
    """A setting that was renamed would stop every container at its start."""
    for name in ("migrate", "gateway"):
        service = compose["services"][name]
        settings = load(None, service["environment"])
        assert settings.ledger.url.startswith("postgresql:")
        assert settings.store.options["aws_secret_access_key"] == "a-secret"
        assert service["command"][0] in COMMANDS
        assert json.loads(service["environment"]["ONCEGATE_VIEWER__TRUSTED_PROXIES"])


def test_nginx_reads_its_part_of_the_compose_file(
    compose: dict[str, Any], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """A directive that is misspelt ends the container at its start, and nobody starts one here."""
    front = compose["services"]["front"]["configs"][0]
    assert front["target"] == "/etc/nginx/conf.d/default.conf"  # where nginx's image looks for servers
    content = compose["configs"][front["source"]]["content"].replace("$$", "$")
    (tmp_path / "nginx.conf").write_text(f"pid nginx.pid; events {{}} http {{ {content} }}")
    command = [require_tool("nginx"), "-t", "-p", str(tmp_path), "-c", "nginx.conf", "-e", "stderr"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_image_is_built_of_the_source_alone() -> None:
    """``COPY .`` would take the environment, the history and every server of the tests along: gigabytes."""
    left_out = (DEPLOY.parent / ".dockerignore").read_text().split()
    assert {".git", ".venv", ".parts"} <= set(left_out)


def test_the_compose_file_holds_together(compose: dict[str, Any]) -> None:
    """Services, volumes and configs that are named are there, and no secret is."""
    services = compose["services"]
    for service in services.values():
        assert service.keys() & {"image", "build"}
        assert set(service.get("depends_on", ())) <= services.keys()
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in compose["volumes"]
        for config in service.get("configs", ()):
            assert config["source"] in compose["configs"]
    assert services["gateway"]["deploy"]["replicas"] >= 2
    assert "PASSWORD: ${" in (DEPLOY / "compose.yaml").read_text()
