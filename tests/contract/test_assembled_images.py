"""The contract with assembled images: AWS's Runtime Interface Emulator, and Lambda and Batch of the
embedded cloud."""

from __future__ import annotations

import pytest

from tests.contract.case import ASSEMBLED, Case
from tests.contract.cases import CASES
from tests.contract.checks import check_case
from tests.contract.environments import Deployed, Environment


@pytest.mark.parametrize(
    ("place", "case"),
    [
        pytest.param(name, case, id=f"{name}: {case.name}")
        for name in ASSEMBLED.split()
        for case in CASES
        if case.runs_in(name)
    ],
    indirect=["place"],
)
def test_contract(place: Environment, case: Case, deployed: Deployed) -> None:
    check_case(case, place, deployed)
