"""What a program that uses oncegate can catch: ``OncegateError``, and below it one class for each kind of fault.

    OncegateError
    |-- BadRequest     an argument that no link can be made from (also a ValueError)     here
    |-- Refused        a link that is not admitted                                       refusal.py
    |-- ApiError       the control API answered an error, or not at all                  library/calls.py
    `-- Unfit          something cannot be used as configured                            unfit.py

Each class says in its attributes what was wrong; the text of an error holds no key, signature, policy or token.
"""

from __future__ import annotations


class OncegateError(Exception):
    """Anything that oncegate raises on purpose."""


class BadRequest(OncegateError, ValueError):
    """An argument that no link can be made from.

    Attributes:
        argument: name of the argument, as the caller spelled it.
        why: what is the matter with its value.
    """

    def __init__(self, argument: str, why: str) -> None:
        self.argument = argument
        self.why = why
        super().__init__(argument, why)

    def __str__(self) -> str:
        """Argument and reason in one line."""
        return f"{self.argument}: {self.why}"
