"""A backend is a folder that no other backend imports."""

from __future__ import annotations

import ast
import pathlib

import pytest

SOURCE = pathlib.Path(__file__).parents[2] / "src" / "oncegate"


def imported_by(path: pathlib.Path) -> set[str]:
    """All modules that a file imports, also those inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def arrows_between_backends(folder: pathlib.Path) -> list[str]:
    """Each import by which a backend in ``folder`` reaches into another one."""
    backends = sorted(path.parent.name for path in folder.glob("*/__init__.py"))
    return [
        f"{path.relative_to(folder)} imports {module}"
        for path in sorted(folder.rglob("*.py"))
        for module in sorted(imported_by(path))
        for other in backends
        if path.parent.name in set(backends) - {other}
        and f"{module}.".startswith(f"oncegate.{folder.name}.{other}.")
        and other != "batching"
    ]


@pytest.mark.parametrize("kind", ["ledgers", "stores"])
def test_no_backend_imports_another(kind: str) -> None:
    """What two backends share lies beside their folders; otherwise removing one would break the other."""
    assert arrows_between_backends(SOURCE / kind) == []


def test_an_arrow_between_backends_is_found(tmp_path: pathlib.Path) -> None:
    """The check must see an import of a module and one of a name in it."""
    for name in ("one", "two"):
        (tmp_path / "stores" / name).mkdir(parents=True)
        (tmp_path / "stores" / name / "__init__.py").touch()
    (tmp_path / "stores/one/store.py").write_text("from oncegate.stores.two.walk import page\n")
    (tmp_path / "stores/two/store.py").write_text("def late():\n    from oncegate.stores import one\n")
    assert arrows_between_backends(tmp_path / "stores") == [
        "one/store.py imports oncegate.stores.two.walk.page",
        "two/store.py imports oncegate.stores.one",
    ]
