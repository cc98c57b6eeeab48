"""Examples at the end of a command's help."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """The epilog of a command, with line breaks that click keeps."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
