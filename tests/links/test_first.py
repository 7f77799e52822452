"""The first claim beside the whole rule: the same decision and the same bytes, whatever is asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oncegate.uses.first import first_claim
from oncegate.uses.record import to_json
from oncegate.uses.use import DownloadAsk, Rules, admit_download

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
SPANS = st.none() | st.tuples(st.integers(0, 50), st.integers(51, 100))
ASKS = st.builds(
    DownloadAsk,
    uses=st.integers(1, 9999),
    size_bytes=st.integers(100, 2**40),
    etag=TEXT,
    span=SPANS,
    cookie=st.none() | TEXT,
    address=st.none() | TEXT,
    gateway=TEXT,
    claim_id=TEXT,
    mark=TEXT,
    running=st.dictionaries(TEXT, st.integers(0, 100), max_size=2),
)


@given(ask=ASKS, now_s=st.integers(0, 2**40), window_s=st.integers(0, 10**6))
def test_a_first_claim_is_what_the_whole_rule_says(ask: DownloadAsk, now_s: int, window_s: int) -> None:
    """Any cookie, address, mark or transfer under way: where nothing is recorded, none of them proves anything."""
    first = first_claim(ask, now_s)
    if ask.span is not None:
        assert first is None
        return
    assert first is not None
    admission = admit_download(None, ask, now_s, Rules(resume_window_s=window_s))
    assert first.admission == admission
    assert admission.record is not None
    assert first.text == to_json(admission.record)
