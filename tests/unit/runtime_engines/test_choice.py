from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from runtime.engines import choose_engine
from runtime.engines.engine import _circumstances
from runtime.errors import RunnerError


@pytest.fixture
def works(tmp_path: Path) -> Path:
    """A store in which an engine was found."""
    try:
        choose_engine(tmp_path)
    except RunnerError as error:
        pytest.skip(error.cause)
    return tmp_path


def test_the_finding_is_remembered_and_quick(works: Path) -> None:
    durations = []
    for _ in range(5):
        started = time.perf_counter()
        choose_engine(works)
        durations.append(time.perf_counter() - started)
    assert min(durations) < 0.02


def test_the_finding_of_another_machine_or_user_does_not_count(works: Path) -> None:
    memory = works / "engine.json"
    content = json.loads(memory.read_text())
    content["circumstances"]["boot"] = "another"
    content["engine"], content["details"] = "proot", {"proot": "/no/such"}
    memory.write_text(json.dumps(content))
    assert choose_engine(works).name != "proot"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_finding_written_by_somebody_else_is_not_believed(tmp_path: Path) -> None:
    details = {"proot": "/planted"}
    content = {"circumstances": _circumstances(None), "engine": "proot", "details": details}
    (tmp_path / "engine.json").write_text(json.dumps(content))
    os.chown(tmp_path / "engine.json", 12345, 12345)
    try:
        assert choose_engine(tmp_path).name != "proot"
    except RunnerError as error:
        assert error.kind == "NoEngine"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null"])
def test_a_damaged_memory_is_as_good_as_none(works: Path, content: str) -> None:
    (works / "engine.json").write_text(content)
    assert choose_engine(works).name
