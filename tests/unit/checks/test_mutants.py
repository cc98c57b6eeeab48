"""`make mutants` on a small tree: what is caught, what survives, and which entries no longer fit."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.mutants.__main__ import LISTS, ROOT, main
from tests.mutants.mutant import read, subjects

CODE = """def fits(size: int) -> bool:
    return size <= 3


def doubled(size: int) -> int:
    return size * 2
"""
TESTS = """import sums


def test_the_limit_is_three() -> None:
    assert sums.fits(3) and not sums.fits(4)
"""
CAUGHT = """[[mutant]]
what = "the limit is three and more"
file = "sums/__init__.py"
before = "size <= 3"
after = "size <= 4"
tests = ["test_sums.py"]
"""
SURVIVES = """[[mutant]]
what = "tripled"
file = "sums/__init__.py"
before = "size * 2"
after = "size * 3"
tests = ["unit/test_sums.py"]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {"sums/__init__.py": CODE, "tests/unit/test_sums.py": TESTS, ".gitignore": "build/\n"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "lists").mkdir()
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path


def run(root: Path, *options: str, **lists: str) -> int:
    for subject, text in lists.items():
        (root / "lists" / f"{subject}.toml").write_text(text)
    return main(["--jobs", "2", *options], root, root / "lists")


def test_entries_of_all_lists_fit_the_code() -> None:
    assert all(read(LISTS, subject, ROOT) for subject in subjects(LISTS))


def test_mutants_are_judged_one_by_one_and_never_in_the_working_tree(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(root, "--json", good=CAUGHT, bad=SURVIVES) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["caught"] == 1
    told = {one["subject"]: (one["verdict"], one["noticed_by"]) for one in answer["mutants"]}
    assert told["good"] == ("caught", ["tests/unit/test_sums.py::test_the_limit_is_three"])
    assert told["bad"] == ("survived", [])
    assert (root / "sums/__init__.py").read_text() == CODE


def test_a_survivor_may_be_accepted_for_a_reason(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accepted = SURVIVES + 'accepted = "nobody doubles"\n'
    assert run(root, "--only", "bad", good=CAUGHT, bad=accepted) == 0
    said = capsys.readouterr().out
    assert "accepted: nobody doubles" in said
    assert "0 of 1 mutants caught (0%)" in said


def test_a_test_that_fails_without_the_mutant_has_noticed_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = "def test_that_is_broken() -> None:\n    assert sums.fits(4)\n\n\ndef test_the"
    (root / "tests/unit/test_sums.py").write_text(TESTS.replace("def test_the", broken))
    assert run(root, good=CAUGHT.replace("size <= 4", "size <= 2"), bad=SURVIVES) == 1
    said = capsys.readouterr()
    assert "left out, as it fails without a mutant, too: tests/unit/test_sums.py::test_that_is" in said.err
    assert "1 of 2 mutants caught (50%)" in said.out


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (CAUGHT.replace("size <= 3", "size < 3"), "`before` occurs 0 times in sums/__init__.py"),
        (CAUGHT.replace("size <= 3", "size"), "`before` occurs 4 times in sums/__init__.py"),
        (CAUGHT.replace("size <= 4", "size <= 3"), "`after` is the same as `before`"),
        (CAUGHT.replace("sums/", "products/"), "products/__init__.py does not exist"),
        (CAUGHT.replace("test_sums", "test_none"), "0 files below tests/ are called test_none.py"),
        (CAUGHT.replace("what = ", "why = "), "`what` is missing"),
        (CAUGHT + 'reason = "x"\n', "unknown key `reason`"),
        ("nonsense", "cannot be read"),
    ],
)
def test_an_entry_that_does_not_fit_is_an_error(
    root: Path, capsys: pytest.CaptureFixture[str], entry: str, said: str
) -> None:
    assert run(root, good=CAUGHT, wrong=entry) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "wrong.toml" in told
    assert not (root / "build").exists()
