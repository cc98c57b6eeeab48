"""`scar watch`: its options, output and exit codes."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scar_cli.aws.kept_queues import KeptQueue
from scar_cli.commands import watch
from scar_cli.cost.spent import Costs
from scar_cli.launch.journal import Journal
from scar_cli.main import scar
from scar_cli.watch import outputs
from scar_cli.watch.looks import Looks
from tests.unit.scar_cli.watch.aws_of_a_workflow import Aws, refusal, report, summary
from tests.unit.scar_cli.watch.runs_of_a_workflow import DETECT, MERGE, SPLIT

FAILED = {"status": "failed", "kind": "ContainerFailed", "error": "Exit code 3"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    aws = Aws()
    monkeypatch.setattr(watch, "selected", lambda **_choice: [DETECT, MERGE])
    monkeypatch.setattr(watch, "clients", lambda: aws.get)
    monkeypatch.setattr(watch, "kept_queues_of", lambda *_words, **_more: [])
    monkeypatch.setattr(Costs, "add", lambda _costs, _run: None)
    monkeypatch.setattr(watch, "Looks", partial(Looks, now=aws.clock, sleep=aws.clock.sleep))
    ended(monkeypatch, after=1)
    return aws


def ended(monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Press Ctrl-C after some looks."""
    pauses = iter(range(1, 100))

    def wait(_looks: Looks) -> None:
        if next(pauses) >= after:
            raise KeyboardInterrupt

    monkeypatch.setattr(Looks, "wait", wait)


def run(*words: str) -> Result:
    return CliRunner().invoke(scar, ["watch", *words], standalone_mode=False)


def now_ms() -> int:
    return int(time.time() * 1000)


def test_ctrl_c_prints_a_summary(aws: Aws) -> None:
    aws.write(now_ms(), summary("1"), report("1"))
    result = run()
    assert result.return_value == 0
    line, head, detect, merge = result.stdout.splitlines()
    assert "  0 queued  0 running  1 done  0 failed  0 in failure queues  0/min  Nothing is waiting" in line
    assert head.split() == ["FUNCTION", "QUEUED", "RUNNING", "DONE", "FAILED", "FAILURE", "QUEUE"]
    assert detect.split() == ["detect", "?", "0", "1", "0", "0"]
    assert merge.split() == ["merge", "0", "0", "0", "0", "0"]
    assert result.stderr == ""


def test_the_exit_code_is_1_if_a_failure_queue_is_not_empty(aws: Aws) -> None:
    aws.write(now_ms(), summary("1", **FAILED), report("1"))
    aws.depths[DETECT.failure_queue_url] = 1
    result = run()
    assert result.return_value == 1
    assert "detect    1       ContainerFailed: Exit code 3" in result.stdout.splitlines()
    assert "scar log --errors" in result.stderr
    assert "scar retry" in result.stderr


def test_queues_of_earlier_deployments_count(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [KeptQueue("detect", "us-east-1", "http://queue/old", 3)]
    monkeypatch.setattr(watch, "kept_queues_of", lambda *_words, **_more: kept)
    result = run()
    assert result.return_value == 1
    assert "detect: 3 events of an earlier deployment. To send again: scar retry" in result.stdout


def test_an_interruption_before_everything_was_read_is_130(aws: Aws) -> None:
    aws.refusals = [refusal("ThrottlingException")]
    result = run()
    assert result.return_value == 130
    assert "FUNCTION" not in result.stdout


def test_json_is_one_object_for_each_look(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(monkeypatch, after=3)
    aws.write(now_ms(), summary("1", **FAILED), report("1"))
    result = run("--json")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [len(one["failures"]) for one in found] == [1, 0, 0]
    assert [one["functions"][0]["failed"] for one in found] == [1, 1, 1]
    assert result.return_value == 0


@pytest.mark.parametrize(("every_s", "lines"), [(0.0, 20), (1e9, 1)])
@pytest.mark.usefixtures("aws")
def test_without_a_terminal_a_line_is_printed_from_time_to_time(
    monkeypatch: pytest.MonkeyPatch, every_s: float, lines: int
) -> None:
    monkeypatch.setattr(outputs, "_LINE_EVERY_S", every_s)
    ended(monkeypatch, after=20)
    assert sum(" queued  " in line for line in run().stdout.splitlines()) == lines


def test_the_numbers_are_printed_before_an_error(aws: Aws) -> None:
    aws.write(now_ms(), summary("1"), report("1"))
    calls = iter(range(100))
    accepted = aws.filter_log_events

    def expired(**request: object) -> object:
        if next(calls) == 2:
            raise refusal("ExpiredTokenException")
        return accepted(**request)

    aws.filter_log_events = expired  # type: ignore[method-assign,assignment]
    with pytest.MonkeyPatch.context() as patched:
        ended(patched, after=5)
        result = run()
    assert "The AWS credentials have expired" in str(result.exception)
    assert result.stdout.splitlines()[-2].split() == ["detect", "?", "0", "1", "0", "0"]


def test_a_launch_is_shown_with_the_workflow_it_belongs_to(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(SPLIT, stack="another")
    monkeypatch.setattr(watch, "selected", lambda **_choice: [other, MERGE, DETECT])
    path = tmp_path / "journal.jsonl"
    head = {"function": "detect", "options": {"stage": None}, "since_ms": now_ms() - 5000}
    journal = Journal.create(path, {**head, "sources": [["b", ""]]})
    journal.sending(0, ["1", "2"])
    journal.finish()
    aws.write(now_ms(), summary("1"), report("1"))
    (found,) = map(json.loads, run("--launch", str(path), "-j").stdout.splitlines())
    assert [one["function"] for one in found["functions"]] == ["detect", "merge"]
    assert {name: found["launch"][name] for name in ("files", "done", "left", "is_sending")} == {
        "files": 2,
        "done": 1,
        "left": 1,
        "is_sending": False,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--launch", "j", "--since", "1h"), "--launch cannot be combined with --since"),
        (("--port", "8080"), "--port needs --web"),
        (("--launch", "/nonexistent"), "The journal /nonexistent cannot be read"),
        (("--since", "yesterday"), "'yesterday' is not a time"),
    ],
)
@pytest.mark.usefixtures("aws")
def test_wrong_options_are_explained(words: tuple[str, ...], message: str) -> None:
    assert message in str(run(*words).exception)


def test_without_functions_there_is_nothing_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "selected", lambda **_choice: [])
    assert "No functions are deployed" in str(run().exception)
