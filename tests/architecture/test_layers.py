"""Imports point down only: the tables below are the architecture (docs/architecture.md).

A new arrow is a change to this file, so it is seen in review.
"""

from __future__ import annotations

import ast
import pathlib
import sys
from collections.abc import Iterator

SOURCE = pathlib.Path(__file__).parents[2] / "src"

# A folder may import itself and any folder in a lower row; never its own row, never upwards.
ROWS = (
    {"cli"},
    {"service"},
    {"gateway", "edge", "control", "aws"},
    {"web", "ledgers", "stores", "keys", "server"},
    {"uses", "aws_requests"},
    {"links"},
)
# Beside the rows: of the whole house, but links/ knows none of them.
HOUSE = {"settings", "unfit", "events", "atomic_file", "__main__"}
# For users' tests and ours: may import everything, and nothing that ships imports it.
TESTING = {"testing"}

STDLIB_ONLY = (
    "oncegate.links", "oncegate.unfit", "oncegate.uses.record", "oncegate.uses.use", "oncegate.edge", "oncegate.ledgers.protocol",
    "oncegate.ledgers.claiming", "oncegate.aws_requests.flow", "oncegate.aws_requests.signature",
    "oncegate.ledgers.dynamodb.requests", "oncegate.ledgers.dynamodb.items",
)  # fmt: skip
NO_IO = ("oncegate.links",)
IO_MODULES = {
    "asyncio", "http.client", "io", "os", "pathlib", "random", "secrets", "select", "socket", "ssl", "subprocess",
    "tempfile", "threading", "time", "urllib.request",
}  # fmt: skip


def imports() -> Iterator[tuple[str, str]]:
    """Yield (importing module, imported module) for every import statement, also those inside functions."""
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((module, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module}: absolute imports only"
                yield module, node.module or ""
                yield from ((module, f"{node.module}.{alias.name}") for alias in node.names)


def folder_of(module: str) -> str:
    """The folder of a module of ours."""
    return [*module.split("."), ""][1]


def row_of(module: str) -> int | None:
    """The row of a module's folder; None for the house and for others' modules."""
    return next((number for number, folders in enumerate(ROWS) if folder_of(module) in folders), None)


def test_every_folder_has_a_row() -> None:
    """A folder that no table names would be free of all rules."""
    known = set().union(*ROWS) | HOUSE | TESTING | {"__init__", "py.typed", "__pycache__"}
    found = {path.stem if path.suffix == ".py" else path.name for path in (SOURCE / "oncegate").iterdir()}
    assert found <= known


def test_imports_point_down() -> None:
    """A folder imports itself and lower rows only; siblings would grow into one knot."""
    for module, imported in imports():
        above, below = row_of(module), row_of(imported)
        if not imported.startswith("oncegate.") or above is None or below is None:
            continue
        assert folder_of(module) == folder_of(imported) or below > above, f"{module} imports {imported}"


def test_nothing_that_ships_imports_testing() -> None:
    """Tools for tests must not become parts of the program."""
    for module, imported in imports():
        if folder_of(imported) in TESTING and imported.startswith("oncegate."):
            assert folder_of(module) in TESTING, f"{module} imports {imported}"


def test_links_know_nothing_of_the_house() -> None:
    """The rules are shipped to the edge as they are: no settings, no events, no files."""
    for module, imported in imports():
        if folder_of(module) == "links" and imported.startswith("oncegate."):
            assert folder_of(imported) == "links", f"{module} imports {imported}"


def test_the_house_knows_no_folder_but_links() -> None:
    """Settings and events lie below the folders that use them; an arrow back would be a circle."""
    for module, imported in imports():
        if folder_of(module) in HOUSE - {"__main__"} and imported.startswith("oncegate."):
            assert folder_of(imported) in HOUSE | {"links", "__version__"}, f"{module} imports {imported}"


def test_what_the_edge_ships_needs_no_dependency() -> None:
    """The edge function has no layer and no wheel: one third-party import breaks every deployment."""
    for module, imported in imports():
        if module.startswith(STDLIB_ONLY):
            root = imported.split(".")[0]
            assert root == "oncegate" or root in sys.stdlib_module_names, f"{module} imports {imported}"


def test_links_do_no_io() -> None:
    """The rules must give the same answer at the edge, in the gateway and in a test with any clock."""
    for module, imported in imports():
        if module.startswith(NO_IO):
            assert imported not in IO_MODULES, f"{module} imports {imported}"
            assert not imported.startswith(("datetime.datetime.now", "os.")), f"{module} imports {imported}"


def test_one_file_knows_the_server() -> None:
    """Granian's embedding interface is experimental: a second file that uses it would double the work of leaving it."""
    users = {module for module, imported in imports() if imported.split(".")[0] == "granian"}
    assert users == {"oncegate.server.listener"}


def test_each_driver_belongs_to_one_folder() -> None:
    """A dependency belongs to one folder, so that it can be replaced there."""
    owners = {
        "cryptography": {"keys"},
        "fastapi": {"control"},
        "pydantic": {"control"},
        "prometheus_client": {"control"},
        "asyncpg": {"ledgers"},
        "redis": {"ledgers"},
        "sqlite3": {"ledgers"},
        "click": {"cli"},
        "rich": {"cli"},
        "segno": {"cli"},
        "uvloop": {"cli"},
    }
    for module, imported in imports():
        root = imported.split(".")[0]
        if root in owners and folder_of(module) not in TESTING:
            assert folder_of(module) in owners[root], f"{module} imports {imported}"
