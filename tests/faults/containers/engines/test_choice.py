from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from containers.engines import choose_engine, supervise
from containers.engines.memory import circumstances_of
from containers.engines.udocker import tools as udocker_tools
from containers.engines.udocker.tools import _architecture
from containers.errors import ExplainedError


@pytest.fixture
def works(tmp_path: Path) -> Path:
    """A store in which an engine was found."""
    try:
        choose_engine(tmp_path)
    except ExplainedError as error:
        pytest.skip(error.cause)
    return tmp_path


def test_the_finding_is_remembered_and_quick(works: Path) -> None:
    durations = []
    for _ in range(5):
        started = time.perf_counter()
        choose_engine(works)
        durations.append(time.perf_counter() - started)
    assert min(durations) < 0.02


def test_probing_starts_one_process_and_a_remembered_finding_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What probing costs is the start of a helper (10 ms on a quiet machine): count those."""
    started: list[object] = []
    read: list[Path] = []

    class Counted(subprocess.Popen[bytes]):
        def __init__(self, command: list[str], **settings: Any) -> None:
            started.append(command)
            super().__init__(command, **settings)

    monkeypatch.setattr(subprocess, "Popen", Counted)
    monkeypatch.setattr(supervise, "keep_spare", lambda *_: None)
    monkeypatch.setattr(supervise, "take_spare", lambda *_: None)
    monkeypatch.setattr(udocker_tools, "read_program", read.append)
    (tmp_path / "lib").mkdir()
    for number in range(100):
        (tmp_path / f"lib/libfakechroot-Fedora-{number}-{_architecture()}.so").touch()
    monkeypatch.setenv("SCAR_UDOCKER_TOOLS", str(tmp_path))
    monkeypatch.delenv("UDOCKER_USE_PROOT_EXECUTABLE", raising=False)
    store = tmp_path / "store"
    engine = choose_engine(store)
    if engine.name == "namespaces":
        assert len(started) == 1
        started.clear()
    assert choose_engine(store).name == engine.name
    assert choose_engine(store, "fakechroot").name == "fakechroot"
    assert choose_engine(store, "fakechroot").name == "fakechroot"
    assert started == []
    assert read == [], "a hundred libraries are known by their names"


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
    content = {"circumstances": circumstances_of(None), "engine": "proot", "details": details}
    (tmp_path / "engine.json").write_text(json.dumps(content))
    os.chown(tmp_path / "engine.json", 12345, 12345)
    try:
        assert choose_engine(tmp_path).name != "proot"
    except ExplainedError as error:
        assert error.kind == "NoEngine"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null"])
def test_a_damaged_memory_is_as_good_as_none(works: Path, content: str) -> None:
    (works / "engine.json").write_text(content)
    assert choose_engine(works).name
