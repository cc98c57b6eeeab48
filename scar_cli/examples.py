"""Examples at the end of a command's help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def examples(*lines: str) -> str:
    """The epilog of a command, with line breaks that click keeps."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def with_examples(name: str, *lines: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """`click.command` with examples."""
    return click.command(name, epilog=examples(*lines), **settings)
