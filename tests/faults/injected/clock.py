"""A clock of the emulator and its Lambda workers that can be moved while they run (libfaketime)."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "SCAR_TEST_CLOCK"
"""Names the file with the clock's offset, such as `+90s`, for `program/`."""
_PLACES = ("/usr/lib", "/lib")


def library() -> Path | None:
    """The library, or None if it is not installed."""
    found = [path for place in _PLACES for path in Path(place).glob("*/faketime/libfaketime.so.1")]
    return found[0] if found else None


def run_with(file: str, arguments: list[str]) -> None:
    """Run a program in place of this one, with the clock that `file` moves."""
    found = library()
    if found is None or "LD_PRELOAD" in os.environ:
        return
    variables = {
        "LD_PRELOAD": str(found),
        "FAKETIME_TIMESTAMP_FILE": file,
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    os.execve(arguments[0], arguments, {**os.environ, **variables})
