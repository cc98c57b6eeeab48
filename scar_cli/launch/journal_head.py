"""The head of a launch's journal: where the journal is, and whether a launch that goes on is the same one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scar_cli.errors import UserError

CONCURRENCY = 32
REMEMBERED = ("bucket_suffix", "bucket_path", "match", "newer_than", "skip_done", "limit")
"""Options that say which files are taken: a launch that goes on has them from its journal."""
_HAS_TO_FIT = {
    "cloud": "another cloud (the embedded one, or AWS)",
    "region": "another region",
    "sources": "other folders",
    "inputs": "a function with other inputs",
}


@dataclass(frozen=True)
class Wanted:
    """What was typed."""

    fdl: str | None = None
    name: str | None = None
    bucket_suffix: str | None = None
    bucket_path: str | None = None
    match: str | None = None
    newer_than: str | None = None
    skip_done: bool = False
    limit: int | None = None
    concurrency: int = CONCURRENCY
    rate: str | None = None
    resume: str | None = None

    def completed(self, head: dict[str, Any]) -> Wanted:
        """With what a journal remembers in place of what was not typed.

        Raises:
            UserError: what was typed is something else than what the journal remembers.
        """
        try:
            str(head["launch"]), int(head["since_ms"]), int(head["newer_than_ms"] or 0)
            remembered = {name: head["options"][name] for name in REMEMBERED}
            remembered["name"] = head["function"]
            fdl = self.fdl or head["fdl"]
        except (KeyError, TypeError, ValueError):
            raise UserError(f"The journal {self.resume} cannot be read", "Start a new launch") from None
        for name, value in remembered.items():
            typed = getattr(self, name)
            if typed not in (None, False, value):
                option = f"--{name.replace('_', '-')}"
                raise UserError(
                    f"The journal {self.resume} is of a launch {_with(option, value)}, and not "
                    f"{_with(option, typed)}",
                    "Leave that option out, or start a new launch without --resume",
                )
        return replace(self, fdl=fdl, **remembered)


def require_the_same(head: dict[str, Any], now: dict[str, Any], path: str) -> None:
    """
    Raises:
        UserError: the FDL file or the surroundings have changed so that other files would be sent.
    """
    for name, what in _HAS_TO_FIT.items():
        if head.get(name) != now[name]:
            raise UserError(
                f"{path} is the journal of a launch for {what}: {json.dumps(head.get(name))}, and now it is "
                f"{json.dumps(now[name])}",
                "Use the FDL file, the region and the credentials of that launch, or start a new one",
            )


def new_place(function: str) -> Path:
    """Where a new journal goes: below the XDG state folder."""
    base = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    moment = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"[:-3]
    return (base / "scar-cdk" / "launches" / f"{function}-{moment}Z.jsonl").absolute()


def _with(option: str, value: object) -> str:
    if value in (None, False):
        return f"without {option}"
    return f"with {option}" if value is True else f"with {option} {value}"
