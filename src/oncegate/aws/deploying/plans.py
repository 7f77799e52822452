"""What applying a template would do to a stack, change by change, as CloudFormation's change sets say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oncegate.aws.stacks.template import Json

_SIGNS = {"Add": "+", "Remove": "-", "Import": "+"}


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one resource: ``+`` made, ``~`` changed, ``!`` replaced, ``-`` taken out of the stack."""

    sign: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What applying a template would do.

    Attributes:
        stack: its name.
        region: where it is.
        template: what is applied.
        changes: what it does; empty: nothing.
        is_new: whether there is no such stack yet.
        change_set: of a stack that stands; empty where there is none to execute.
        parameters: values; None: what was given before.
    """

    stack: str
    region: str
    template: Mapping[str, Json]
    changes: Sequence[Change]
    is_new: bool
    change_set: str = ""
    parameters: Mapping[str, str | None] = field(default_factory=dict[str, str | None])


def changes_of(described: Mapping[str, Any]) -> Sequence[Change]:
    """Read a change set, as ``DescribeChangeSet`` returns it."""
    found: list[Change] = []
    for each in described.get("Changes", ()):
        change = each["ResourceChange"]
        is_replaced = change.get("Replacement") == "True"
        sign = _SIGNS.get(change["Action"]) or ("!" if is_replaced else "~")
        found.append(Change(sign, change["LogicalResourceId"], change["ResourceType"]))
    return found
