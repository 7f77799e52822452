"""Options of the whole suite."""

import pathlib

import pytest

VECTORS = pathlib.Path(__file__).parent / "vectors" / "vectors.json"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let another file of vectors be run: keys are named relative to it."""
    parser.addoption("--vectors", default=str(VECTORS), help="a file of vectors of the same form")
    parser.addoption("--nightly", action="store_true", help="run the long form of tests that have one")
