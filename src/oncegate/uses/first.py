"""The first claim of a link, which nearly every download is: what the rules say and write where nothing is recorded.

Both are what ``use.admit_download`` and ``record.to_json`` give for it, and tests hold that; they are asked for the first
try alone. As soon as a record is met, the rules decide by it.
"""

from __future__ import annotations

from json.encoder import encode_basestring as _to_text
from typing import NamedTuple

from oncegate.uses.record import Claim, Record
from oncegate.uses.use import Admission, DownloadAsk, Kind


class FirstClaim(NamedTuple):
    """What is admitted if nothing is recorded yet.

    Attributes:
        admission: as ``admit_download`` makes it.
        text: its record, as ``to_json`` writes it.
    """

    admission: Admission
    text: bytes


def first_claim(ask: DownloadAsk, now_s: int) -> FirstClaim | None:
    """Decide a GET of the whole object through a link of which nothing is recorded; None for a part.

    No cookie proves anything yet, and every link has at least one use. The address is kept: by it the holder may resume.
    """
    if ask.span is not None:
        return None
    claim_id = ask.claim_id
    record = Record(uses=1, claims=(Claim(claim_id, now_s, ask.address, ask.gateway),))
    address = "0" if not ask.address else _to_text(ask.address)
    text = f'{{"c":[[{_to_text(claim_id)},{now_s},{address},{_to_text(ask.gateway)}]]}}'
    return FirstClaim(Admission(kind=Kind.ADMIT, claim_id=claim_id, record=record, mark=claim_id), text.encode())
