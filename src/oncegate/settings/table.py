"""What a table of the configuration is: a dataclass whose fields name the readers of what is written in the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, dataclass, fields
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Key:
    """How one setting is written.

    Attributes:
        name: in the file.
        read: returns the value of what is written; raises ``ValueError`` with what to write instead.
        is_many: a list or a table, which a variable writes as JSON.
    """

    name: str
    read: Callable[[object], object]
    is_many: bool


def key_of(name: str, read: Callable[[object], object], *, is_many: bool = False) -> dict[str, Key]:
    """Return the metadata of a field."""
    return {"key": Key(name, read, is_many)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the file. Raises ``ValueError`` for a value that the reader of its key would not return."""

    def __post_init__(self) -> None:
        for entry, key in keys_of(type(self)):
            value: object = getattr(self, entry.name)
            if key.read(value) != value:
                raise ValueError(f"{key.name}: not in its normal form")


def keys_of(table: type[Table]) -> list[tuple[Field[Any], Key]]:
    """Return the fields of a table, each with its key."""
    return [(entry, cast("Key", entry.metadata["key"])) for entry in fields(table)]
