"""Operators' errors: where, what and remedy, apart for the doctor and in one line for everyone else."""

from __future__ import annotations

from oncegate.unfit import Unfit


class _KeyUnfit(Unfit):
    """One kind of many."""


def test_an_error_reads_where_what_remedy() -> None:
    """The command line prints this line and nothing else; empty parts leave no stray colon."""
    assert str(Unfit("is taken", remedy="choose another", where="port 80")) == "port 80: is taken: choose another"
    assert str(Unfit("is taken")) == "is taken"
    assert Unfit("is taken", remedy="choose another", where="port 80").words == "port 80: is taken"


def test_an_error_that_is_told_where_keeps_its_kind_and_remedy() -> None:
    """A key's own reader does not know its file; who opens the file must not lose the remedy by adding the name."""
    told = _KeyUnfit("has 1024 bits", remedy="use 2048").at("keys/a.pem")
    assert type(told) is _KeyUnfit
    assert str(told) == "keys/a.pem: has 1024 bits: use 2048"
