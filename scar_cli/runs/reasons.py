"""Why runs failed, without the file that they failed for."""

from __future__ import annotations

import re

from scar_cli.runs.model import Run
from scar_cli.table import printable

_LONGEST = 200
_URI = re.compile(r"[a-z0-9]+://\S+")
_END_OF_SENTENCE = re.compile(r"\.\s|[\r\n]")


def reason_of(run: Run) -> str:
    """The kind and the first sentence of the error of a failed run, without the object that it is about,
    which differs from run to run."""
    error = run.error or ""
    if run.subject:
        error = error.replace(run.subject, "…")
    sentence = _END_OF_SENTENCE.split(error, maxsplit=1)[0].rstrip(".")
    sentence = _URI.sub("…", sentence)
    return shortened(f"{run.kind}: {sentence}" if run.kind else sentence or "unknown")


def shortened(reason: str) -> str:
    """A reason that fits into a line of a table."""
    return printable(reason if len(reason) <= _LONGEST else f"{reason[: _LONGEST - 1]}…")
