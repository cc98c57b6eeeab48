"""Writes docs/fdl.md, or checks that it is up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from fdl_schemas.docs.reference import document

TARGET = Path(__file__).resolve().parents[2] / "docs/fdl.md"
_COMMAND = "python -m fdl_schemas.docs"


def main(arguments: list[str]) -> int:
    """The exit code: 0 written or up to date, 1 out of date, 2 wrong usage."""
    if arguments not in ([], ["--check"]):
        print(f"usage: {_COMMAND} [--check]", file=sys.stderr)
        return 2
    text = document()
    if not arguments:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print(f"docs/fdl.md is out of date: run `{_COMMAND}` and commit the result", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
