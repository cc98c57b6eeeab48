"""The fuzzer itself: it finds what is broken, saves and replays it. And a few cases of each target."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from containers.image.origin import VerifiedStream
from containers.layers.tree import Tree
from tests.fuzz import __main__ as command
from tests.fuzz import registry
from tests.fuzz.campaign import ROOT, Campaign, judged, opened
from tests.fuzz.target import Check, Target, decode, encode
from tests.fuzz.targets import TARGETS


@contextmanager
def _fragile(_folder: Path) -> Iterator[Check]:
    def check(case: Any) -> None:
        assert case["number"] < 100, "too large"
        if b"\x07" in case["bytes"]:
            raise ValueError("seven")

    yield check


FRAGILE = Target(
    "fragile", st.fixed_dictionaries({"number": st.integers(0, 10_000), "bytes": st.binary()}), _fragile
)


def test_each_fault_is_found_once_and_its_case_made_small() -> None:
    campaign = Campaign(FRAGILE, seed=1)
    campaign.run(seconds=30, cases=600)
    cases = {what.split(" ")[0]: decode(finding.case) for what, finding in campaign.findings.items()}
    assert cases == {
        "AssertionError": {"number": 100, "bytes": b""},
        "ValueError": {"number": 0, "bytes": b"\x07"},
    }


def test_finding_is_saved_and_replayed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TARGETS, "fragile", FRAGILE)
    with opened(FRAGILE) as check:
        finding = judged(FRAGILE, check, encode({"number": 100, "bytes": b"\xff"}))
        assert finding is not None
        assert judged(FRAGILE, check, encode({"number": 99, "bytes": b"\xff"})) is None
    file = finding.save(tmp_path)
    assert command.replay(file) == 1
    assert "too large" in capsys.readouterr().out
    file.write_text(file.read_text().replace("100", "99"))
    assert command.replay(file) == 0


def test_driver_shares_out_targets_and_fails_for_findings(tmp_path: Path) -> None:
    arguments = ["--cases", "5", "--seed", "1", "--folder", str(tmp_path), "words", "fdl"]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "words             5 cases   0 findings" in ended.stdout
    assert "fdl               5 cases   0 findings" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "0 findings; seed 1"


ESCAPE = {
    "layers": [
        {"members": [{"name": "../../outside/secret", "kind": "0", "content": b"x"}], "packing": "plain"},
    ]
}


def test_file_outside_of_the_root_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(TARGETS["layers"]) as check:
        assert judged(TARGETS["layers"], check, encode(ESCAPE)) is None
        monkeypatch.setattr(Tree, "parts", lambda _tree, name: name.split(b"/"))
        monkeypatch.setattr(Tree, "parent", lambda tree, parts, **_: b"/".join([tree.root, *parts]))
        finding = judged(TARGETS["layers"], check, encode(ESCAPE))
    assert finding is not None
    assert finding.what.startswith("OutsideError")


def test_wrong_byte_under_a_digest_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    at = (registry._CONFIG.index(b"A=1") + 0.5) / len(registry._CONFIG)
    case = {"version": "latest", "damage": [["blob", 0, {"edits": [[at, 1, b"B"]]}]]}
    with opened(TARGETS["registry"]) as check:
        assert judged(TARGETS["registry"], check, encode(case)) is None
        monkeypatch.setattr(VerifiedStream, "read", lambda stream, size: stream._inner.read(size))
        assert judged(TARGETS["registry"], check, encode(case)) is not None


def test_case_that_never_ends_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def endless(_folder: Path) -> Iterator[Check]:
        def check(_case: Any) -> None:
            while True:
                time.monotonic()

        yield check

    monkeypatch.setattr("tests.fuzz.campaign.WORK_S", 0.1)
    target = Target("endless", st.just(None), endless)
    with opened(target) as check:
        finding = judged(target, check, "null")
    assert finding is not None
    assert finding.what == "TooMuchWork"


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_cases_of_each_target_break_nothing(name: str) -> None:
    campaign = Campaign(TARGETS[name], seed=1)
    campaign.run(seconds=20, cases=15)
    assert not campaign.findings, [finding.told for finding in campaign.findings.values()]
