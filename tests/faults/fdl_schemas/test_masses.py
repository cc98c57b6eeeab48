"""FDL files with thousands of mistakes or entries: little is said, and not pair by pair."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.unit.fdl_schemas.test_diagnostics import said_about

MASSES = {
    "functions without image": "functions:\n  aws:\n"
    + "".join(f"  - lambda: {{name: f{number}}}\n" for number in range(5_000)),
    "unknown keys": "functions:\n  aws:\n  - lambda:\n      name: a\n"
    + "".join(f"      k{number}: 1\n" for number in range(45_000)),
    "entries of the wrong type": "functions:\n  aws:\n"
    + "".join(f"  - {number}\n" for number in range(90_000)),
    "variables of the wrong type": "functions:\n  aws:\n  - lambda:\n      name: a\n      container:\n"
    "        image: a\n        environment:\n          Variables:\n"
    + "".join(f"            k{number}: 1\n" for number in range(45_000)),
    "undefined connections": "functions:\n  aws:\n  - lambda:\n      name: a\n      container: {image: a}\n"
    "      output:\n"
    + "".join(f"      - {{path: abc, storage_provider: minio.x{number}}}\n" for number in range(4_000))
    + "storage_providers:\n  minio:\n"
    + "".join(f"    m{number}: {{endpoint: a, access_key: b, secret_key: c}}\n" for number in range(4_000)),
}


def test_filters_by_the_thousand_are_not_compared_pair_by_pair(tmp_path: Path) -> None:
    function = "functions:\n  aws:\n  - lambda:\n      name: a\n      container: {image: a}\n      output:\n"
    function += "".join(f"      - {{path: abc, suffix: x{number}}}\n" for number in range(3_000))
    function += "      input:\n"
    function += "".join(f"      - {{path: abc, suffix: y{number}}}\n" for number in range(3_000))
    start = time.perf_counter()
    assert "FDL003: one bucket has too many different inputs and outputs" in said_about(function, tmp_path)
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("fdl", list(MASSES.values()), ids=list(MASSES))
def test_masses_of_mistakes_are_cut_short(fdl: str, tmp_path: Path) -> None:
    start = time.perf_counter()
    said = said_about(fdl, tmp_path)
    assert time.perf_counter() - start < 20
    assert re.search(r"^… and \d+ more$", said, re.MULTILINE)
