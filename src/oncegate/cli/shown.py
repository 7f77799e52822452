"""What has become of a link, as lines for a person."""

from __future__ import annotations

from oncegate.links.instants import instant_text
from oncegate.uses.standing import Standing

_CONFIRM = {"always": "always: a browser shows a button first, a program gets 403", "never": "never: nobody is asked"}


def as_lines(link_id: str, standing: Standing, *, confirm: str | None = None) -> list[str]:
    """Write a standing for a person: a name and what is known under it.

    Args:
        link_id: 22 characters.
        standing: what became of the link.
        confirm: the link's own ``once-confirm``; None: it has none, or only its id is known.
    """
    rows = {
        "id": link_id,
        "state": standing.words,
        "key": standing.object_key,
        "operation": None if standing.operation is None else standing.operation.word,
        "label": standing.label,
        "confirm": confirm and _CONFIRM[confirm],
        "uses": _uses(standing),
        "made": _instant(standing.made_s),
        "expires": _instant(standing.expires_s),
        "refusals": str(standing.refusals) if standing.refusals else None,
    }
    lines = [f"{name:10}{printable(value)}" for name, value in rows.items() if value]
    for receipt in standing.receipts:
        whose = f" by {receipt.address}" if receipt.address else ""
        what = f"{receipt.direction} {receipt.outcome}, {receipt.moved_bytes} bytes{whose}"
        lines.append(f"{'transfer':10}{instant_text(receipt.at_s)}  {printable(what)}")
    return lines


def as_line(link_id: str, standing: Standing) -> str:
    """Write a standing as one line: id, state, key, what happened."""
    key = printable(standing.object_key or "-")
    label = f"  [{printable(standing.label)}]" if standing.label else ""
    return f"{link_id}  {standing.state.value:10}  {key}  {printable(standing.words)}{label}"


def printable(text: str) -> str:
    """Replace what would move a terminal's cursor or colour it: others wrote the keys, labels and error bodies."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _uses(standing: Standing) -> str:
    return (
        f"{standing.uses_taken} taken" if standing.uses is None else f"{standing.uses_taken} of {standing.uses} taken"
    )


def _instant(at_s: int | None) -> str | None:
    return None if at_s is None else instant_text(at_s)
