"""Every example in README and the guides is run as it stands; docs/testing.md has the convention.

A page is one story: its ``sh`` blocks run in order, in one shell, in an empty folder, against a real ``oncegate
serve``. Only the ports differ: 80NN is replaced by a free one wherever it stands.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass, field

import pytest

from oncegate.settings import load
from oncegate.testing.installation import START_MAX_S, free_port

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_FENCE = re.compile(r"^ {0,3}```([a-z]*)\n(.*?)^ {0,3}```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (not run|run|file): ([^\n]+?) -->\n\Z")
_NEEDS = re.compile(r"^<!-- needs: (.+?) -->$", re.MULTILINE)
_PORT = re.compile(r"\b(?:80[89][0-9]|8443)\b")
ALWAYS_RUN = {"README.md"}
"""The other pages take long together."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: its language and text, and what the comment right before it says."""

    language: str
    text: str
    mark: str = ""
    words: str = ""
    line: int = 0


def blocks_of(page: pathlib.Path) -> list[Block]:
    """All fenced blocks of a page."""
    text = page.read_text()
    found: list[Block] = []
    for fence in _FENCE.finditer(text):
        before = text[: fence.start()]
        mark = _MARK.search(before)
        found.append(
            Block(
                language=fence[1],
                text=fence[2],
                mark=mark[1] if mark else "",
                words=mark[2] if mark else "",
                line=before.count("\n") + 2,
            )
        )
    return found


def is_run(page: pathlib.Path) -> bool:
    """Whether a page has something to run."""
    return any(block.language == "sh" and block.mark != "not run" for block in blocks_of(page))


@dataclass
class Shell:
    """A bash that keeps its folder and its variables from block to block."""

    folder: pathlib.Path
    ports: dict[str, str] = field(default_factory=dict)
    background: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "home").mkdir()
        here = self.folder / "here"
        here.mkdir()
        self.cwd = str(here)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONCEGATE_", "AWS_"))}
        scripts = pathlib.Path(sys.executable).parent
        self.environ = kept | {
            "HOME": str(self.folder / "home"),
            "PATH": f"{scripts}:{kept['PATH']}",
            "LC_ALL": "C.UTF-8",
        }
        self._bash = subprocess.Popen(
            ["bash", "--norc", "-eu"],
            cwd=self.cwd,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def of_ports(self, text: str) -> str:
        """Put free ports in place of those that the page names."""
        return _PORT.sub(lambda found: self.ports.setdefault(found[0], str(free_port())), text)

    def run(self, text: str) -> str:
        """Run a block; return what it printed.

        Raises:
            AssertionError: it failed.
        """
        assert self._bash.stdin
        assert self._bash.stdout
        script = self.folder / "block.sh"
        script.write_text(self.of_ports(text))
        self._bash.stdin.write(f"source {script}\nprintf '\\n--end-- %s\\n' \"$PWD\"\n")
        self._bash.stdin.flush()
        printed: list[str] = []
        for line in self._bash.stdout:
            if line.startswith("--end-- "):
                self.cwd = line.removeprefix("--end-- ").rstrip("\n")
                self._move_ports()
                return "".join(printed)
            printed.append(line)
        raise AssertionError(f"failed:\n{text}\nprinted:\n{''.join(printed)}{self.logs()}")

    def _move_ports(self) -> None:
        """A configuration that ``oncegate init`` made names the usual ports."""
        for path in self.folder.rglob("oncegate*.toml"):
            text = path.read_text()
            if _PORT.search(text) and not set(_PORT.findall(text)) <= set(self.ports.values()):
                path.write_text(self.of_ports(text))

    def start(self, text: str) -> None:
        """Run a block beside the others, until the page ends; return when every ``oncegate serve`` in it answers."""
        log = self.folder / f"background-{len(self.background)}.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                ["bash", "--norc", "-euc", self.of_ports(text)],
                cwd=self.cwd,
                env=self.environ,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.background.append(process)
        wanted = len(re.findall(r"oncegate\b.* serve\b", text))
        deadline = time.monotonic() + START_MAX_S
        while log.read_text().count("control ready") < wanted:
            assert process.poll() is None, f"it ended:\n{text}\n{log.read_text()}"
            assert time.monotonic() < deadline, f"not ready:\n{text}\n{log.read_text()}"
            time.sleep(0.02)

    def logs(self) -> str:
        """The last that was said by what runs beside."""
        logs = (*sorted(self.folder.glob("background-*.log")), *sorted(self.folder.glob("here/**/serve.log")))
        return "".join(path.read_text()[-2_000:] for path in logs)

    def end(self) -> None:
        """End everything that was started."""
        for process in [self._bash, *self.background]:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in [self._bash, *self.background]:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for stream in (self._bash.stdin, self._bash.stdout):
            if stream is not None:
                stream.close()


@pytest.fixture
def shell(tmp_path: pathlib.Path) -> Generator[Shell]:
    """An empty folder and a shell in it."""
    made = Shell(tmp_path)
    try:
        yield made
    finally:
        made.end()


def missing_words(wanted: str, printed: str) -> str:
    """The first wanted line that is not there, in order; ``...`` stands for anything."""
    lines = iter(printed.splitlines())
    for line in wanted.splitlines():
        pattern = ".*".join(re.escape(part) for part in line.strip().split("..."))
        if line.strip() and not any(re.fullmatch(pattern, given.strip()) for given in lines):
            return line
    return ""


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=str(page.relative_to(ROOT)), marks=[] if page.name in ALWAYS_RUN else pytest.mark.slow)
        for page in PAGES
        if is_run(page)
    ],
)
def test_examples_do_what_the_page_says(page: pathlib.Path, shell: Shell) -> None:
    """An example that no longer works costs a reader more than one that is missing; so none is only read."""
    needs = {tool for words in _NEEDS.findall(page.read_text()) for tool in words.split()}
    absent = sorted(tool for tool in needs if shutil.which(tool) is None)
    if absent:
        assert not os.environ.get("REQUIRE_ALL_TOOLS"), f"CI has to install {', '.join(absent)}"
        pytest.skip(f"this page needs {', '.join(absent)}, which is not on this machine")
    printed: str | None = None
    for block in blocks_of(page):
        where = f"{page.name}:{block.line}"
        if block.mark == "file":
            path = pathlib.Path(shell.cwd) / block.words
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(shell.of_ports(block.text))
        elif block.mark == "not run":
            printed = None
        elif block.language == "sh":
            if block.mark == "run":
                assert block.words == "in the background", f"{where}: unknown mark {block.words}"
                shell.start(block.text)
                printed = None
            else:
                printed = shell.run(block.text)
        elif block.language == "python":
            (shell.folder / "block.py").write_text(shell.of_ports(block.text))
            printed = shell.run(f"python -W error::SyntaxWarning {shell.folder}/block.py\n")
        elif block.language == "text" and printed is not None:
            line = missing_words(shell.of_ports(block.text), printed)
            assert not line, f"{where}: no line {line!r} in\n{printed}\n{shell.logs()}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_is_not_run_has_a_reason_and_what_is_read_is_readable(page: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Python must compile and settings must load, even where nobody runs them; and a skip says why."""
    for block in blocks_of(page):
        where = f"{page.name}:{block.line}"
        assert block.language, f"{where}: a block says its language"
        if block.mark == "not run":
            assert len(block.words.split()) >= 3, f"{where}: say why it is not run"
        elif block.language == "python":
            compile(block.text, where, "exec")
        elif block.language == "toml":
            path = tmp_path / "oncegate.toml"
            path.write_text(block.text)
            load(path, {})


def test_every_guide_runs_something() -> None:
    """A guide without an example that runs is a promise that nobody checks."""
    for page in sorted((ROOT / "docs" / "guides").glob("*.md")):
        assert is_run(page), f"{page.name} has no block that is run"
