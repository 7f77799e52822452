"""Where a link stands, as the command line shows it: the members of the control API's answers, or lines for a person."""

from __future__ import annotations

from oncegate.links.verify import UPLOAD
from oncegate.uses.standing import Standing, instant_text


def as_json(link_id: str, standing: Standing) -> dict[str, object]:
    """Write a standing with the names that ``GET /v1/links/{id}`` has; null: not known."""
    return {
        "id": link_id,
        "state": standing.state.value,
        "words": standing.words,
        "key": standing.object_key,
        "operation": operation_of(standing),
        "label": standing.label or None,
        "made_at": _instant(standing.made_s),
        "expires_at": _instant(standing.expires_s),
        "uses": standing.uses,
        "uses_taken": standing.uses_taken,
        "revoked": standing.is_revoked,
        "expired": standing.is_expired,
        "outcome": standing.outcome,
        "bytes": standing.moved_bytes,
        "claims": [
            {
                "at": instant_text(claim.at_s),
                "address": claim.address,
                "size": claim.size_bytes,
                "promised": claim.promised_bytes,
            }
            for claim in standing.claims
        ],
        "transfers": [
            {
                "at": instant_text(receipt.at_s),
                "direction": receipt.direction,
                "outcome": receipt.outcome,
                "bytes": receipt.moved_bytes,
                "size": receipt.size_bytes,
                "address": receipt.address,
            }
            for receipt in standing.receipts
        ],
        "previews_suppressed": standing.previews_suppressed,
        "refusals": standing.refusals,
    }


def as_lines(link_id: str, standing: Standing) -> list[str]:
    """Write a standing for a person: a name and what is known under it."""
    rows = {
        "id": link_id,
        "state": standing.words,
        "key": standing.object_key,
        "operation": operation_of(standing),
        "label": standing.label,
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


def operation_of(standing: Standing) -> str | None:
    """``get`` or ``put``, as the control API says it; None where nobody knows."""
    if standing.operation is None:
        return None
    return "put" if standing.operation == UPLOAD else "get"


def printable(text: str) -> str:
    """Replace what would move a terminal's cursor or colour it: keys, labels and error bodies are others' text."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _uses(standing: Standing) -> str:
    return (
        f"{standing.uses_taken} taken" if standing.uses is None else f"{standing.uses_taken} of {standing.uses} taken"
    )


def _instant(at_s: int | None) -> str | None:
    return None if at_s is None else instant_text(at_s)
