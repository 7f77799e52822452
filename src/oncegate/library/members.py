"""The members of an answer's JSON, read into the values of ``answers``.

Members that a later version adds are dropped, so that an older client goes on working.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

T = TypeVar("T")


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


INSTANT: Mapping[str, Any] = {"read": _instant}
"""Metadata of a field that holds an instant."""


def many(kind: type[object]) -> Mapping[str, Any]:
    """Return the metadata of a field that holds values of a dataclass."""

    def read(rows: Iterable[Mapping[str, Any]]) -> tuple[object, ...]:
        return tuple(read_answer(kind, row) for row in rows)

    return {"read": read}


def read_answer(kind: type[T], members: Mapping[str, Any]) -> T:
    """Make a value of the JSON object of an answer.

    Args:
        kind: one of the dataclasses of ``answers``.
        members: the JSON object.

    Raises:
        KeyError: a member is missing: what answered is no control API of this version.
    """
    values: dict[str, Any] = {}
    for entry in dataclasses.fields(kind):  # pyright: ignore[reportArgumentType]  kind is one of those dataclasses
        name = entry.name.removesuffix("_")
        value = members[name] if entry.default is dataclasses.MISSING else members.get(name, entry.default)
        values[entry.name] = entry.metadata["read"](value) if "read" in entry.metadata else value
    return kind(**values)
