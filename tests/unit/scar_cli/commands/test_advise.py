"""`scar advise`: lines of the FDL file, with reasons and costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import synthetic_runs
from scar_cli.commands import advise
from scar_cli.main import scar
from scar_cli.runs import reading
from tests.unit.scar_cli.commands.test_report import Aws

FDL = """functions:
  aws:
  - lambda:
      name: resize
      memory: 1024
      timeout: 300
      container: {image: busybox}
  - lambda:
      name: index
      container: {image: busybox}
"""
RESIZE, _EXAMINE, INDEX = synthetic_runs.functions()


@pytest.fixture(name="fdl")
def _fdl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    aws = Aws()
    monkeypatch.setattr(reading, "client", lambda *_words, **_more: aws)
    monkeypatch.setattr(advise, "selected", lambda *_words, **_more: [RESIZE, INDEX])
    path = tmp_path / "workflow.yaml"
    path.write_text(FDL)
    return str(path)


def run(*words: str) -> str:
    arguments = ["advise", *words, "--since", "2026-01-01"]
    result = CliRunner().invoke(scar, arguments, catch_exceptions=False, standalone_mode=False)
    assert result.return_value == 0
    return result.stdout


def test_proposals_name_the_lines_to_change(fdl: str) -> None:
    lines = run("-f", fdl).splitlines()
    assert lines[0] == "resize: from 29 successful runs"
    proposals = json.loads(run("-f", fdl, "--json"))["functions"][0]["proposals"]
    found: dict[str, Any] = {one["setting"]: one for one in proposals}
    timeout = found["lambda.timeout"]
    assert (timeout["line"], timeout["now"], timeout["proposed"]) == (6, "300", "20")
    assert f"  {fdl}:6: timeout: 20  (now 300)" in lines
    index = lines[lines.index("index: from 29 successful runs") :]
    assert any(line.startswith(f"  {fdl}:9: add timeout: 20  (default 300)") for line in index)


def test_costs_are_those_of_1000_runs(fdl: str) -> None:
    """The synthetic script uses nine tenths of a vCPU, so half of the memory would cost as much."""
    proposals = json.loads(run("-f", fdl, "--json"))["functions"][0]["proposals"]
    arm = next(one for one in proposals if one["setting"] == "lambda.architectures")
    assert arm["proposed"] == "[arm64]"
    assert arm["usd_then_per_1000"] < 0.85 * arm["usd_now_per_1000"]


def test_an_fdl_file_is_required() -> None:
    result = CliRunner().invoke(scar, ["advise"])
    assert result.exit_code == 2
    assert "Missing option '-f'" in result.stderr
