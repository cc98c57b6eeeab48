"""The page that is generated from the suite."""

from __future__ import annotations

from collections import Counter

from tests.contract.cases import CASES
from tests.contract.table import PAGE, page


def test_page_says_what_the_suite_checks() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.contract.table`"


def test_names_of_cases_are_unique() -> None:
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []
