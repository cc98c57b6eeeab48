# ruff: noqa: E501, RUF001 - the page is Markdown
"""Writes docs/contract.md from the cases of the contract suite: `python -m tests.contract.table`."""

from __future__ import annotations

from pathlib import Path

from tests.contract.case import Case
from tests.contract.cases import CASES, GROUPS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "contract.md"
COLUMNS = {
    "emulator": "AWS's emulator",
    "cloud": "Lambda, embedded",
    "batch": "Batch, embedded",
    "namespaces": "pulled, `namespaces`",
    "fakechroot": "pulled, `fakechroot`",
}
_HEAD = """# The contract with your script

This page lists what an image and a script can rely on in each environment. `python -m tests.contract.table` generates it from the
contract suite (`tests/contract/`), which is part of `make test`. Each row is a small script or program that runs unchanged, in one
of three images, in five environments:

- **AWS's emulator**: an image function in AWS's Lambda Runtime Interface Emulator, with a read-only root file system and Lambda's
  unprivileged user
- **Lambda, embedded** and **Batch, embedded**: the same images on the embedded cloud
- **pulled**: a function in [pulled mode](architecture.md#pulled-mode), which pulls its image at run time, with the engines
  `namespaces` and `fakechroot`

The cells mean:

- ✓: works as the row says
- a number: differs, as explained below the table
- *static*: fails with a clear error, because `fakechroot` cannot run images that contain only static programs
- –: not tested. Each Batch job needs a separate container, so Batch runs {batch} of the {cases} cases
"""


def page() -> str:
    """The whole page."""
    in_batch = sum(case.in_batch for case in CASES)
    parts = [_HEAD.format(batch=in_batch, cases=len(CASES))]
    for group, cases in GROUPS.items():
        notes: list[str] = []
        lines = [_line(case, notes) for case in cases]
        parts.append(f"## {group}\n")
        parts.append("| |" + "|".join(COLUMNS.values()) + "|\n|---|" + "---|" * len(COLUMNS))
        parts.append("\n".join(lines) + "\n")
        parts += [f"{number}. {note[:1].upper()}{note[1:]}." for number, note in enumerate(notes, 1)]
        if notes:
            parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _line(case: Case, notes: list[str]) -> str:
    cells = [_cell(case, environment, notes) for environment in COLUMNS]
    name = case.name.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")
    return f"| {name} | {' | '.join(cells)} |"


def _cell(case: Case, environment: str, notes: list[str]) -> str:
    if not case.runs_in(environment):
        return "–"
    expected = case.expected_in(environment)
    if expected is case.expected or not expected.because:
        return "✓"
    if expected.fails == "EngineUnsuitable":
        return "*static*"
    if expected.because not in notes:
        notes.append(expected.because)
    return str(notes.index(expected.because) + 1)


if __name__ == "__main__":
    PAGE.write_text(page())
