"""The end of a verb's help: lines to copy."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """The epilog of a command, of which click keeps the line breaks."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
