"""The table of a proof, as Markdown for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.proof.costs import ASSUMPTIONS

PASSED, FAILED, LEFT_OUT, INTERRUPTED = "passed", "failed", "skipped", "interrupted"
_LONGEST_REASON = 300


@dataclass
class Row:
    """What was seen of one example."""

    example: str
    outcome: str = FAILED
    reason: str | None = None
    """Why it failed or was left out."""
    deployed_s: float | None = None
    cold_s: float | None = None
    """From the first upload to the last checked result, in new execution environments."""
    warm_s: float | None = None
    """The same again, directly afterwards."""
    removed_s: float | None = None
    sent_bytes: int = 0
    received_bytes: int = 0
    cost_usd: float | None = None
    """At most, see `costs`."""
    log_lines: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """What could not be removed."""


@dataclass
class Evidence:
    """All of a proof."""

    date: str
    """UTC, ISO 8601."""
    where: str
    run: str
    versions: Mapping[str, str]
    rows: list[Row] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing failed and nothing is left."""
        return all(row.outcome in (PASSED, LEFT_OUT) and not row.left for row in self.rows)

    def write(self, folder: Path) -> None:
        """Write `proof.md` and `proof.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "proof.md").write_text(self.markdown(), encoding="utf-8")
        (folder / "proof.json").write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    def markdown(self) -> str:
        """The table, and what belongs to it."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        lines = [
            f"# Proof on {self.where}",
            "",
            f"{self.date}, run `{self.run}`. {versions}.",
            "",
            "| example | outcome | deploy (s) | cold (s) | warm (s) | remove (s) | bytes in | bytes out "
            "| cost on AWS at most (USD) |",
            "|---|---|---|---|---|---|---|---|---|",
            *(_line(row) for row in self.rows),
            "",
        ]
        reasons = [f"- {row.example}, {row.outcome}: {row.reason}" for row in self.rows if row.reason]
        left = [f"- {row.example}: {_cell(one)}" for row in self.rows for one in row.left]
        logs = [f"{row.example}: {line}" for row in self.rows for line in row.log_lines[:1]]
        lines += ["## Not proved", "", *reasons, ""] if reasons else []
        lines += ["## Could not be removed", "", *left, ""] if left else []
        lines += ["## One log line of each example", "", "```", *logs, "```", ""] if logs else []
        lines += ["## How the costs are estimated", "", *(f"- {text}" for text in ASSUMPTIONS)]
        return "\n".join(lines) + "\n"


def one_line(error: BaseException) -> str:
    """An error as the reason of a row."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"


def _line(row: Row) -> str:
    times = [_seconds(each) for each in (row.deployed_s, row.cold_s, row.warm_s, row.removed_s)]
    cost = "" if row.cost_usd is None else f"{row.cost_usd:.3f}"
    cells = [row.example, row.outcome, *times, str(row.sent_bytes), str(row.received_bytes), cost]
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
