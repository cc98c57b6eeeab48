"""The contract with pulled images: with namespaces, and with fakechroot in a jail like Lambda's."""

from __future__ import annotations

import pytest

from tests.contract.case import PULLED, Case
from tests.contract.cases import CASES
from tests.contract.checks import check_case
from tests.contract.environments import Deployed, Environment


@pytest.mark.parametrize(
    ("place", "case"),
    [
        pytest.param(name, case, id=f"{name}: {case.name}")
        for name in PULLED.split()
        for case in CASES
        if case.runs_in(name)
    ],
    indirect=["place"],
)
def test_contract(place: Environment, case: Case, deployed: Deployed) -> None:
    check_case(case, place, deployed)
