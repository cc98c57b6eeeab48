"""The list of mutants: small faults, written down as the text before and after, that tests must notice.

A subject is a file `lists/SUBJECT.toml` with entries such as

    [[mutant]]
    what = "the job's own file descriptors stay open"     # what is broken, in one line
    file = "containers/engines/helper/container_init.py"
    before = "close_from(3, keep=report_fd)"               # occurs exactly once in the file
    after = "close_from(9, keep=report_fd)"
    tests = ["test_confinement.py"]                        # names of files anywhere below tests/
    accepted = "why no test notices it"                    # only if it survives, and that is all right
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TEXTS = ("what", "file", "before", "after")


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    subject: str
    number: int
    """Counted from 1 in the subject's list."""
    what: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]
    """Paths of test files, relative to the root."""
    accepted: str | None

    @property
    def name(self) -> str:
        """How reports and error messages call it."""
        return f"{self.subject} {self.number}"


class ListError(Exception):
    """An entry of a list does not fit the tree; the text says which and why."""


def subjects(lists: Path) -> list[str]:
    """The subjects that there are lists for."""
    return sorted(path.stem for path in lists.glob("*.toml"))


def read(lists: Path, subject: str, root: Path) -> list[Mutant]:
    """The mutants of one subject.

    Raises:
        ListError: the list cannot be read, or one of its entries does not fit the files below `root`.
    """
    path = lists / f"{subject}.toml"
    try:
        entries = tomllib.loads(path.read_text())["mutant"]
    except (KeyError, tomllib.TOMLDecodeError) as error:
        raise ListError(f"{path}: cannot be read: {error}") from None
    return [_mutant(path, number, entry, root) for number, entry in enumerate(entries, start=1)]


def _mutant(path: Path, number: int, entry: dict[str, Any], root: Path) -> Mutant:
    at = f"{path}: mutant {number} ({entry.get('what', 'without `what`')})"
    if missing := [key for key in (*_TEXTS, "tests") if not entry.get(key) and key != "after"]:
        raise ListError(f"{at}: `{missing[0]}` is missing")
    if unknown := set(entry) - {*_TEXTS, "tests", "accepted"}:
        raise ListError(f"{at}: unknown key `{min(unknown)}`")
    file = root / entry["file"]
    if not file.is_file():
        raise ListError(f"{at}: {entry['file']} does not exist")
    if (count := file.read_text().count(entry["before"])) != 1:
        raise ListError(f"{at}: `before` occurs {count} times in {entry['file']}; expected: once")
    if entry["before"] == entry["after"]:
        raise ListError(f"{at}: `after` is the same as `before`")
    return Mutant(
        subject=path.stem,
        number=number,
        tests=tuple(_test_file(at, name, root) for name in entry["tests"]),
        accepted=entry.get("accepted"),
        **{key: entry[key] for key in _TEXTS},
    )


def _test_file(at: str, name: str, root: Path) -> str:
    """The one file below tests/ whose path ends with `name`: folders of tests move, names stay."""
    found = [file for file in root.glob(f"tests/**/{Path(name).name}") if str(file).endswith(f"/{name}")]
    if len(found) != 1:
        raise ListError(f"{at}: {len(found)} files below tests/ are called {name}; expected: one")
    return str(found[0].relative_to(root))
