"""Examples under a command's help text, laid out as they are written."""

from __future__ import annotations


def examples(*lines: str) -> str:
    r"""Write the end of a help text.

    Args:
        lines: commands as they are typed, and comments.

    Returns:
        An ``epilog`` for click; it begins with ``\b``, which tells click to keep the line breaks.
    """
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
