"""What an object is served with: a browser shows only what can run nothing on the origin of the links."""

from __future__ import annotations

import pytest

from oncegate.links.disposition import disposition_of


@pytest.mark.parametrize(
    "kind",
    ["inline", "INLINE", " inline ", '"inline"', "in line", "inline\t", "in=line", "", "x-show", "inline/", "\u00e9"],
)
@pytest.mark.parametrize("rest", ["", ';filename="a.html"'])
def test_what_is_not_attachment_counts_as_inline(kind: str, rest: str) -> None:
    """A type that is no token passed for attachment here, and a browser may show such an object."""
    assert disposition_of("a.html", kind + rest, "text/html; charset=utf-8") == "attachment" + rest
    assert disposition_of("a.png", kind + rest, "image/png") == kind + rest


@pytest.mark.parametrize("kind", ["attachment", "Attachment", " attachment "])
def test_an_attachment_stays_as_it_was_signed(kind: str) -> None:
    """Nothing is shown, so there is nothing to change."""
    assert disposition_of("a.html", f"{kind}; filename=b", "text/html") == f"{kind}; filename=b"


def test_without_one_the_object_is_saved_under_its_name() -> None:
    """The name is what follows the last slash of its key."""
    assert disposition_of("x/\u00e9.html", None, "text/html").startswith(
        'attachment; filename="_.html"; filename*=UTF-8'
    )
