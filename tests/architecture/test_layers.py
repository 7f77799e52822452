"""Imports point down only: the tables below are the architecture (docs/architecture.md).

A new arrow is a change to this file, so it is seen in review. Each rule is a function over a source tree that returns
what breaks it; it runs on ``src`` and, so that it is known to see something, on a small tree with one break planted.
"""

from __future__ import annotations

import ast
import functools
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

import pytest

SOURCE = pathlib.Path(__file__).parents[2] / "src"

# A folder may import itself and any folder in a lower row; never its own row, never upwards.
ROWS = (
    {"cli"},
    {"service", "contrib"},
    {"gateway", "edge", "control", "library", "aws"},
    {"web", "ledgers", "stores", "keys", "server"},
    {"uses", "aws_requests"},
    {"links"},
)
# Beside the rows: every folder but links/ may import them, and they import no folder but links/.
HOUSE = {"settings", "events", "meters", "unfit", "atomic_file"}
# The two ways in: the package's own names (each loaded when first asked for) and python -m oncegate.
ENTRIES = {"", "__main__"}
# For users' tests and ours: may import everything, and nothing that ships imports it.
TESTING = {"testing"}

# Of each folder of choices: the backends, and what all of them share.
BACKENDS = {
    "ledgers": {"sqlite", "postgresql", "redis", "dynamodb", "s3"},
    "stores": {"directory", "bucket"},
}
SHARED = {"ledgers": {"batching"}, "stores": set[str]()}

# What the edge function is joined from, by whole names; it has no layer and no wheel, and no event loop runs in it.
# Of links/ it is everything but these.
LINKS_NOT_AT_THE_EDGE = {"oncegate.links.explain", "oncegate.links.issue"}
EDGE = {
    "oncegate.uses.use", "oncegate.uses.upload", "oncegate.uses.edge_use", "oncegate.uses.record", "oncegate.unfit",
    "oncegate.ledgers.protocol", "oncegate.ledgers.claiming",
    "oncegate.ledgers.dynamodb.requests", "oncegate.ledgers.dynamodb.items",
    "oncegate.aws_requests.flow", "oncegate.aws_requests.signature", "oncegate.aws_requests.endpoint", "oncegate.web.plain",
    "oncegate.web.answers",
}  # fmt: skip
PAGES_MAX_BYTES = 6 * 1024

NO_IO = "oncegate.links"
IO_MODULES = {
    "asyncio", "http.client", "io", "os", "pathlib", "random", "secrets", "select", "socket", "ssl", "subprocess",
    "tempfile", "threading", "time", "urllib.request",
}  # fmt: skip

# A dependency belongs to one folder, so that it can be replaced there; where two are named, the reason stands beside.
OWNERS = {
    "awscrt": {"oncegate.gateway"},  # loaded by its name, where an upload names crc64nvme
    "babel": {"oncegate.web"},
    "asyncpg": {"oncegate.ledgers.postgresql"},
    "botocore": {"oncegate.aws_requests", "oncegate.aws"},  # credentials; a dozen control services of AWS
    "click": {"oncegate.cli"},
    "cryptography": {"oncegate.keys"},
    "django": {"oncegate.contrib"},
    "fastapi": {"oncegate.control"},
    "google_crc32c": {"oncegate.gateway"},  # loaded by its name, as awscrt is
    "httptools": {"oncegate.server"},
    "httpx": {
        "oncegate.cli",
        "oncegate.library",
        "oncegate.stores.bucket",
    },  # the client of a link; of the control API; requests to S3 that obstore cannot make
    "jinja2": {"oncegate.web"},
    "markupsafe": {"oncegate.web"},
    "obstore": {"oncegate.stores.bucket", "oncegate.ledgers.s3"},  # objects; records as objects
    "prometheus_client": {"oncegate.control"},
    "pydantic": {"oncegate.control"},
    "redis": {"oncegate.ledgers.redis"},
    "rich": {"oncegate.cli"},
    "segno": {"oncegate.cli"},
    "sqlite3": {"oncegate.ledgers.sqlite"},
    "starlette": {"oncegate.control"},
    "uvloop": {"oncegate.cli"},
}

LINES_MAX = 400

Arrows = tuple[tuple[str, str], ...]


@functools.cache
def modules(source: pathlib.Path) -> Mapping[str, pathlib.Path]:
    """Every module of a source tree, by its dotted name; the joined edge function is a copy of some, and none itself."""
    return {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(source.rglob("*.py"))
        if path != source / "oncegate" / "aws" / "generated" / "edge.py"
    }


@functools.cache
def imports(source: pathlib.Path = SOURCE) -> Arrows:
    """Every (importing module, imported module), also of imports inside functions and of ``import_module("name")``."""
    found: list[tuple[str, str]] = []
    for module, path in modules(source).items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: absolute imports only"
            found += [(module, name) for name in named_by(node, modules(source))]
    return tuple(found)


def named_by(node: ast.AST, known: Mapping[str, pathlib.Path]) -> Iterator[str]:
    """What one node of a module imports; of ``from package import module`` of ours the module alone."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        wholes = [f"{node.module}.{alias.name}" for alias in node.names]
        if node.module in known:
            yield from (whole if whole in known else str(node.module) for whole in wholes)
        else:
            yield from (str(node.module), *wholes)
    elif isinstance(node, ast.Call) and any(
        ast.unparse(part).endswith("import_module") for part in (node.func, *node.args)
    ):
        yield from (part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str))


def folder_of(module: str) -> str:
    """The folder (or the file beside the folders) that a module of ours belongs to."""
    return [*module.split("."), ""][1]


def is_within(module: str, *above: str) -> bool:
    """Whether a module is one of ``above`` or lies in one."""
    return any(module == name or module.startswith(f"{name}.") for name in above)


def row_of(module: str) -> int | None:
    """The row of a module's folder; None for the house and for others' modules."""
    return next((number for number, folders in enumerate(ROWS) if folder_of(module) in folders), None)


def upward(arrows: Arrows) -> list[str]:
    """Imports from a folder into another one that is not in a lower row."""
    return [
        f"{module} imports {imported}"
        for module, imported in arrows
        if is_within(imported, "oncegate") and folder_of(module) != folder_of(imported)
        if (above := row_of(module)) is not None and (below := row_of(imported)) is not None and below <= above
    ]


def between_backends(arrows: Arrows) -> list[str]:
    """Imports from one backend's folder into another's, and from what they share into any."""
    return [
        f"{module} imports {imported}"
        for folder, backends in BACKENDS.items()
        for module, imported in arrows
        for backend in backends
        if is_within(imported, f"oncegate.{folder}.{backend}")
        if is_within(module, *(f"oncegate.{folder}.{other}" for other in (backends | SHARED[folder]) - {backend}))
    ]


def circle(arrows: Arrows) -> list[str]:
    """Modules that import each other in a ring, in its order; none where there is no ring.

    The face of the package is left out: it loads a name when somebody outside asks for it.
    """
    targets: dict[str, list[str]] = {}
    for module, imported in arrows:
        if folder_of(module) not in ENTRIES:
            targets.setdefault(module, []).append(imported)
    done: set[str] = set()

    def ring_from(module: str, path: Sequence[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for imported in targets.get(module, ()):
            if ring := ring_from(imported, [*path, module]):
                return ring
        done.add(module)
        return []

    return next((ring for module in targets if (ring := ring_from(module, ()))), [])


def test_every_folder_has_a_row() -> None:
    """A folder that no table names would be free of all rules."""
    known = set().union(*ROWS) | HOUSE | TESTING | {"__init__", "__main__", "py.typed", "__pycache__"}
    found = {path.stem if path.suffix == ".py" else path.name for path in (SOURCE / "oncegate").iterdir()}
    assert found <= known


def test_every_folder_of_a_choice_is_a_backend_or_shared() -> None:
    """A backend that the table does not name could import any other."""
    for folder, backends in BACKENDS.items():
        found = {path.parent.name for path in (SOURCE / "oncegate" / folder).glob("*/__init__.py")}
        assert found == backends | SHARED[folder]


def test_imports_point_down() -> None:
    """A folder imports itself and lower rows only; siblings would grow into one knot."""
    assert upward(imports()) == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Modules in a ring can be understood, tested and loaded only all together."""
    assert circle(imports()) == []


def test_no_backend_imports_another() -> None:
    """Whoever reads, replaces or leaves out a backend has one folder to look at."""
    assert between_backends(imports()) == []


def test_nothing_that_ships_imports_testing() -> None:
    """Tools for tests must not become parts of the program."""
    for module, imported in imports():
        if folder_of(imported) in TESTING and is_within(imported, "oncegate"):
            assert folder_of(module) in TESTING, f"{module} imports {imported}"


def test_links_know_nothing_of_the_house() -> None:
    """The rules are shipped to the edge as they are: no settings, no events, no files."""
    for module, imported in imports():
        if folder_of(module) == "links" and is_within(imported, "oncegate"):
            assert folder_of(imported) == "links", f"{module} imports {imported}"


def test_the_house_knows_no_folder_but_links() -> None:
    """Settings and events lie below the folders that use them; an arrow back would be a circle."""
    for module, imported in imports():
        if folder_of(module) in HOUSE and is_within(imported, "oncegate"):
            assert folder_of(imported) in HOUSE | {"links"} or imported == "oncegate", f"{module} imports {imported}"


def is_of_the_edge(module: str) -> bool:
    """Whether a module is joined into the edge function."""
    is_in = module in EDGE or is_within(module, "oncegate.edge", "oncegate.links")
    return is_in and module not in LINKS_NOT_AT_THE_EDGE


def test_what_the_edge_ships_needs_nothing_beside_it() -> None:
    """One third-party import, or one of a module that is not joined, breaks every deployment to the edge."""
    for module, imported in imports():
        if is_of_the_edge(module):
            root = imported.split(".")[0]
            is_standard = root in sys.stdlib_module_names and root != "asyncio"
            assert is_standard or is_of_the_edge(imported), f"{module} imports {imported}"


def test_what_the_edge_ships_is_there() -> None:
    """A name in the table that no file has would hide that its successor is checked by nobody."""
    assert set() == EDGE - modules(SOURCE).keys()


def test_importing_what_the_edge_ships_loads_nothing_else() -> None:
    """Statements say what is meant, an interpreter what happens: a cold start pays for each module, asyncio 20 ms."""
    of_links = {name for name in modules(SOURCE) if is_within(name, "oncegate.links")} - LINKS_NOT_AT_THE_EDGE
    shipped = sorted(EDGE | of_links)
    program = (
        f"import importlib, sys\nfor name in {shipped!r}: importlib.import_module(name)\n"
        "print(*sorted(n for n in sys.modules if n == 'asyncio' or n.startswith('oncegate.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    folders = {name.rpartition(".")[0] for name in shipped} | {"oncegate.ledgers"}
    assert set(done.stdout.split()) <= {*shipped, *folders}
    assert (SOURCE / "oncegate" / "web" / "plain.py").stat().st_size <= PAGES_MAX_BYTES


def behind_cloudfront(arrows: Arrows) -> set[str]:
    """Modules that take a link without checking its signature."""
    return {module for module, imported in arrows if is_within(imported, "oncegate.links.behind_cloudfront")}


def test_only_the_edge_leaves_the_signature_to_cloudfront() -> None:
    """Anywhere else nobody has checked it, and a forged link would open."""
    users = behind_cloudfront(imports())
    assert {user for user in users if not is_within(user, "oncegate.edge")} == set()


def test_links_need_no_dependency() -> None:
    """Whoever only signs or verifies a link installs nothing else for it."""
    for module, imported in imports():
        if is_within(module, "oncegate.links"):
            root = imported.split(".")[0]
            assert root == "oncegate" or root in sys.stdlib_module_names, f"{module} imports {imported}"


def test_links_do_no_io() -> None:
    """The rules must give the same answer at the edge, in the gateway and in a test with any clock."""
    for module, imported in imports():
        if is_within(module, NO_IO):
            assert imported not in IO_MODULES, f"{module} imports {imported}"
            assert not imported.startswith(("datetime.datetime.now", "os.")), f"{module} imports {imported}"


def test_one_file_knows_the_parser() -> None:
    """What llhttp takes and RFC 9112 does not is refused beside it: a second user would have to refuse it again."""
    users = {module for module, imported in imports() if is_within(imported, "httptools")}
    assert users == {"oncegate.server.reading"}


def test_each_dependency_belongs_to_one_folder() -> None:
    """A dependency belongs to one folder, so that it can be replaced there; one that has no owner is used unseen."""
    for module, imported in imports():
        root = imported.split(".")[0]
        if root == "oncegate" or root in sys.stdlib_module_names - {"sqlite3"} or folder_of(module) in TESTING:
            continue
        assert root in OWNERS, f"{module} imports {imported}, which no folder owns"
        assert is_within(module, *OWNERS[root]), f"{module} imports {imported}"


def test_every_module_can_be_read_at_a_sitting() -> None:
    """Past 400 lines a module holds several nouns."""
    lengths = {module: path.read_text().count("\n") for module, path in modules(SOURCE).items()}
    assert {module for module, lines in lengths.items() if lines > LINES_MAX} == set()


PLANTED = {
    "oncegate/__init__.py": "def __getattr__(name): from oncegate.cli.main import main",
    "oncegate/cli/main.py": "from oncegate import __version__\nfrom oncegate.ledgers.opening import open_ledger",
    "oncegate/ledgers/__init__.py": "",
    "oncegate/ledgers/opening.py": "import importlib\nimportlib.import_module('oncegate.ledgers.redis.ledger')",
    "oncegate/ledgers/protocol.py": "import dataclasses",
    "oncegate/ledgers/redis/ledger.py": "from oncegate.ledgers import protocol\nfrom oncegate.ledgers.redis import own",
    "oncegate/ledgers/redis/own.py": "from oncegate.links.ticket import Ticket",
    "oncegate/ledgers/s3/ledger.py": "from oncegate.ledgers.protocol import Ledger",
    "oncegate/links/ticket.py": "import base64",
}
"""A small house in good order."""


@pytest.fixture
def planted(tmp_path: pathlib.Path) -> pathlib.Path:
    """The small house as a source tree."""
    for name, text in PLANTED.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_house_in_good_order_breaks_no_rule(planted: pathlib.Path) -> None:
    """The plants below must fail for what they are, and for nothing else."""
    arrows = imports(planted)
    assert (upward(arrows), circle(arrows), between_backends(arrows)) == ([], [], [])
    assert ("oncegate.ledgers.redis.ledger", "oncegate.ledgers.protocol") in arrows


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("oncegate/links/ticket.py", "from oncegate.ledgers.protocol import Ledger"),
        ("oncegate/links/ticket.py", "def late():\n    from oncegate import ledgers"),
        ("oncegate/stores/opening.py", "import oncegate.ledgers.protocol"),
        ("oncegate/ledgers/protocol.py", "import importlib\nimportlib.import_module('oncegate.cli.main')"),
    ],
    ids=["up", "up, in a function", "to the same row", "up, by a name in a string"],
)
def test_a_planted_upward_import_is_seen(planted: pathlib.Path, name: str, text: str) -> None:
    """However an import is written, one that points up or sideways must be named with both its ends."""
    (planted / name).parent.mkdir(exist_ok=True)
    (planted / name).write_text(text)
    broken = upward(imports(planted))
    module = name.removesuffix(".py").replace("/", ".")
    assert len(broken) == 1
    assert broken[0].startswith(f"{module} imports oncegate.")


def test_a_planted_circle_is_seen(planted: pathlib.Path) -> None:
    """A ring within one folder crosses no row; it is shown in its order, so that one knows where to cut."""
    (planted / "oncegate/ledgers/protocol.py").write_text("from oncegate.ledgers import opening")
    found = circle(imports(planted))
    assert set(found) == {f"oncegate.ledgers.{name}" for name in ("protocol", "opening", "redis.ledger")}
    assert found[0] == found[-1]


def test_a_planted_way_past_the_signature_is_seen(planted: pathlib.Path) -> None:
    """A gateway that verified the edge's way would serve forged links."""
    path = planted / "oncegate" / "gateway" / "app.py"
    path.parent.mkdir()
    path.write_text("from oncegate.links.behind_cloudfront import verify_behind_cloudfront")
    assert behind_cloudfront(imports(planted)) == {"oncegate.gateway.app"}


@pytest.mark.parametrize("name", ["s3/ledger.py", "batching/batcher.py"])
def test_a_planted_import_between_backends_is_seen(planted: pathlib.Path, name: str) -> None:
    """Neither a backend nor what backends share may lean on one of them."""
    path = planted / "oncegate" / "ledgers" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("from oncegate.ledgers.redis.own import Ticket")
    module = f"oncegate.ledgers.{name.removesuffix('.py').replace('/', '.')}"
    assert between_backends(imports(planted)) == [f"{module} imports oncegate.ledgers.redis.own"]
