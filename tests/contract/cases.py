"""All cases of the contract, in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.contract.case import Case
from tests.contract.cases_environment import FOLDERS, MACHINE, USERS, VARIABLES
from tests.contract.cases_files import INPUTS, OUTPUTS, PRINTED
from tests.contract.cases_programs import ENTRY_POINTS, LINKING, SCRIPTS

GROUPS: Mapping[str, Sequence[Case]] = {
    "What runs": ENTRY_POINTS,
    "Scripts and exit codes": SCRIPTS,
    "Programs and libraries": LINKING,
    "Variables": VARIABLES,
    "User": USERS,
    "Folders": FOLDERS,
    "Machine": MACHINE,
    "Input files": INPUTS,
    "Output files": OUTPUTS,
    "Output": PRINTED,
}

CASES = [case for cases in GROUPS.values() for case in cases]
