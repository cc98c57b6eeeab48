"""Whether a run ran out of memory: the counter of its control group, or else its signal."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from containers.engines import ContainerResult
from runtime import memory

OF_VERSION_1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
OF_VERSION_2 = "low 0\nhigh 0\nmax 31\noom 4\noom_kill {}\noom_group_kill 0\n"


def ended(exit_code: int | None = None, killed_by: int | None = None) -> ContainerResult:
    return ContainerResult(exit_code, killed_by, timed_out=False, duration_s=1.0)


@pytest.mark.parametrize("text", [OF_VERSION_1, OF_VERSION_2])
def test_the_counter_decides(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = tmp_path / "counter"
    monkeypatch.setattr(memory, "_COUNTERS", (tmp_path / "missing", counter))
    counter.write_text(text.format(3))
    before = memory.kills_for_memory()
    assert before == 3
    assert not memory.ran_out_of_memory(ended(killed_by=signal.SIGKILL), before)
    counter.write_text(text.format(4))
    assert memory.ran_out_of_memory(ended(exit_code=1), before)


def test_without_a_counter_a_killed_script_ran_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_COUNTERS", (tmp_path / "missing",))
    assert memory.kills_for_memory() is None
    assert memory.ran_out_of_memory(ended(killed_by=signal.SIGKILL), None)
    assert memory.ran_out_of_memory(ended(exit_code=137), None)
    assert not memory.ran_out_of_memory(ended(exit_code=1), None)
    assert not memory.ran_out_of_memory(ended(killed_by=signal.SIGTERM), None)
