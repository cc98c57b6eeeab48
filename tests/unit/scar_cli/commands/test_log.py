"""`scar log`: which lines belong together, which are shown, and which are repetitions."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from click.testing import CliRunner

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.logs import Line, RepeatedErrors, _pages, belongs, moment_ms, parsed
from scar_cli.commands import log
from scar_cli.errors import UserError
from scar_cli.main import scar


def own(request: str, message: str = "stage", **more: object) -> str:
    return json.dumps({"scar": 1, "level": "INFO", "message": message, "request_id": request, **more})


def test_output_of_the_container_belongs_to_the_request_that_runs_in_its_stream() -> None:
    current: dict[str, str] = {}
    log = [
        ("s1", "START RequestId: one Version: $LATEST", "one"),
        ("s2", "START RequestId: two Version: $LATEST", "two"),
        ("s1", "hello", "one"),
        ("s2", "hello", "two"),
        ("s2", own("two"), "two"),
        ("s1", "END RequestId: one", "one"),
        ("s1", "START RequestId: three Version: $LATEST", "three"),
        ("s1", "REPORT RequestId: one\tDuration: 1 ms", "one"),
        ("s1", '{"json": "of the container"}', "three"),
    ]
    for stream, text, expected in log:
        assert belongs(Line(0, "f", stream, text), current) == expected, text


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "{",
        '{"message": "x"}',
        "[1]",
        "{" * 9999,
        '{"scar": 1, ' * 9999,
        '{"level": "INFO", "message": "summary", "status": "done", "subject": "s3://b/k"}',
        '{ "scar": 1, "level": "INFO", "message": "summary"}',
        ' {"scar": 1, "level": "INFO", "message": "summary"}',
    ],
)
def test_a_line_of_the_container_is_not_taken_for_one_of_the_runner(text: str) -> None:
    assert parsed(text) is None


class Logs:
    """`filter_log_events` as CloudWatch has it (`names_pages`), or as the embedded cloud."""

    def __init__(self, events: list[dict[str, Any]], *, names_pages: bool) -> None:
        self.events = events
        self.names_pages = names_pages

    def filter_log_events(self, **request: Any) -> dict[str, Any]:
        found = [event for event in self.events if event["timestamp"] >= request.get("startTime", 0)]
        first = int(request.get("nextToken", 0))
        page: dict[str, Any] = {"events": found[first : first + 10_000]}
        if self.names_pages and first + 10_000 < len(found):
            page["nextToken"] = str(first + 10_000)
        return page


@pytest.mark.parametrize("names_pages", [True, False])
@pytest.mark.parametrize("count", [0, 9_999, 10_000, 10_001, 25_000])
def test_every_line_of_a_long_log_comes_once(count: int, names_pages: bool) -> None:
    events = [
        {"timestamp": number // 7, "logStreamName": "s", "message": f"line {number // 2}"}
        for number in range(count)
    ]
    pages = _pages(Logs(events, names_pages=names_pages), {"logGroupName": "g"})
    found = [event for page in pages for event in page]
    assert found == events


def test_times_are_read_as_ages_or_as_dates() -> None:
    assert abs(moment_ms("2h") - (time.time() - 7200) * 1000) < 5000
    assert moment_ms("1970-01-02T00:00:00+00:00") == 86_400_000
    for text in ("yesterday", "", "5", "99999999999d", "999999w", "0001-01-01"):
        with pytest.raises(UserError, match="is not a time"):
            moment_ms(text)


# What is shown.

FAILED = "The container exited with code 7. Look at its output"
REPORT = f"[ERROR] InvocationError: s3://b/k: ScriptFailed: {FAILED}"
TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "/.scar/runtime/handler.py", line 1',
    "    raise x",
]
OF_A_FAILED_RUN = [
    "START RequestId: bad Version: $LATEST",
    own("bad", stage="download"),
    "[ERROR] my script could not read a file",
    "Traceback (most recent call last):",
    "ValueError: of my script",
    own("bad", stage="run", kind="ScriptFailed", error=FAILED),
    own(
        "bad", "summary", status="failed", kind="ScriptFailed", error=FAILED, last_lines="ValueError", _aws={}
    ),
    own("bad", "failed", kind="ScriptFailed", error=FAILED),
    REPORT,
    "last lines of its output:",
    "ValueError: of my script",
    *TRACEBACK,
    "END RequestId: bad",
    "REPORT RequestId: bad\tDuration: 1 ms",
]
OF_A_GOOD_RUN = [
    "START RequestId: good Version: $LATEST",
    "hello",
    own("good", "summary", status="done"),
    "END RequestId: good",
    "REPORT RequestId: good\tDuration: 1 ms",
]


class CloudWatch(Logs):
    """A log with a stream for each list of lines: the first at `began_ms`, one each second."""

    def __init__(self, *streams: list[str], began_ms: int = 1_000_000) -> None:
        events = [
            {"timestamp": began_ms + 1000 * number, "logStreamName": f"s{stream}", "message": text}
            for stream, texts in enumerate(streams)
            for number, text in enumerate(texts)
        ]
        super().__init__(sorted(events, key=lambda event: event["timestamp"]), names_pages=True)
        self.asked_from: list[int | None] = []

    def filter_log_events(self, **request: Any) -> dict[str, Any]:
        self.asked_from.append(request.get("startTime"))
        return super().filter_log_events(**request)

    def describe_log_streams(self, **_request: Any) -> dict[str, Any]:
        return {"logStreams": [{"lastEventTimestamp": max(one["timestamp"] for one in self.events)}]}


FUNCTION = DeployedFunction("f", "stack", "us-east-1", "lambda", "/aws/lambda/f", "http://queue")


def shown(monkeypatch: pytest.MonkeyPatch, cloud: CloudWatch, *words: str) -> list[str]:
    monkeypatch.setattr(log, "selected", lambda **_choice: [FUNCTION])
    monkeypatch.setattr(log, "client", lambda *_words, **_more: cloud)
    result = CliRunner().invoke(scar, ["log", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_an_error_is_shown_once_and_the_traceback_of_a_script_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.partition("  ")[2] for line in shown(monkeypatch, CloudWatch(OF_A_FAILED_RUN))]
    assert lines == [
        "START RequestId: bad Version: $LATEST",
        "INFO stage stage=download",
        "[ERROR] my script could not read a file",
        "Traceback (most recent call last):",
        "ValueError: of my script",
        "INFO stage stage=run",
        "INFO summary status=failed",
        f'INFO failed kind=ScriptFailed error="{FAILED}"',
        "END RequestId: bad",
        r"REPORT RequestId: bad	Duration: 1 ms".replace(r"\t", "\t"),
    ]
    assert shown(monkeypatch, CloudWatch(OF_A_FAILED_RUN), "--raw") == OF_A_FAILED_RUN
    as_json = shown(monkeypatch, CloudWatch(OF_A_FAILED_RUN), "-j")
    assert len(as_json) == len(OF_A_FAILED_RUN)


@pytest.mark.parametrize("between", ["\r", "\n"])
def test_an_exception_that_is_one_event_is_recognized(between: str) -> None:
    errors = RepeatedErrors()
    texts = [
        own("x", "failed"),
        between.join([REPORT, *TRACEBACK]),
        "END RequestId: x",
        "[ERROR] of a script",
    ]
    assert [errors.has(Line(0, "f", "s", text)) for text in texts] == [False, True, False, False]


def test_an_exception_of_the_runner_itself_is_a_repetition_too() -> None:
    """The runner has logged it, with its traceback."""
    errors = RepeatedErrors()
    texts = [own("x", "failed", kind="KeyError"), "[ERROR] KeyError: 'a'", TRACEBACK[0], own("y"), "output"]
    assert [errors.has(Line(0, "f", "s", text)) for text in texts] == [False, True, True, False, False]


def test_only_the_output_of_the_script_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = CloudWatch(
        OF_A_GOOD_RUN, [*OF_A_FAILED_RUN[:3], "2026-01-01T00:00:00Z bad Task timed out after 3 s"]
    )
    assert shown(monkeypatch, cloud, "--script") == ["hello", "[ERROR] my script could not read a file"]


def test_only_failed_runs_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    retried = [line.replace("good", "bad") for line in OF_A_GOOD_RUN]
    killed = [
        "START RequestId: killed Version: $LATEST",
        "working",
        "RequestId: killed Error: Runtime exited with error: signal: killed",
        "Runtime.ExitError",
        "END RequestId: killed",
    ]
    cloud = CloudWatch([*OF_A_GOOD_RUN, *killed], [*OF_A_FAILED_RUN, *retried], OF_A_GOOD_RUN)
    lines = shown(monkeypatch, cloud, "--errors", "--raw")
    assert sorted(lines) == sorted([*OF_A_FAILED_RUN, *killed])
    output = shown(monkeypatch, cloud, "--errors", "--script")
    assert sorted(output) == sorted(["working", *OF_A_FAILED_RUN[2:5]])


def test_a_failed_job_is_shown_with_the_output_of_its_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of Batch has no lines of Lambda."""
    job = [own("j"), "output", own("j", "summary", status="failed"), own("j", "failed")]
    done = [own("k"), "output", own("k", "summary", status="done")]
    assert shown(monkeypatch, CloudWatch(done, job), "--errors", "--raw") == job


def test_the_last_lines_are_read_without_the_rest_of_a_long_log(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = CloudWatch([str(number) for number in range(20_000)])
    lines = shown(monkeypatch, cloud, "--raw")
    assert lines == [str(number) for number in range(19_900, 20_000)]
    assert cloud.asked_from == [1_000_000 + 19_999_000 - 10 * 60_000]
    assert shown(monkeypatch, cloud, "--raw", "--tail", "3") == ["19997", "19998", "19999"]
    every = shown(monkeypatch, cloud, "--raw", "--since", "1970-01-01T00:00:01+00:00")
    assert len(every) == 20_000
    since = ("--since", "1970-01-01T00:00:01+00:00", "--tail", "15000")
    assert len(shown(monkeypatch, cloud, "--raw", *since)) == 15_000


def test_a_short_log_is_shown_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = CloudWatch(["old"], began_ms=1000)
    cloud.events.append({"timestamp": 10**12, "logStreamName": "s", "message": "new"})
    assert shown(monkeypatch, cloud, "--raw") == ["old", "new"]
    assert cloud.asked_from[-1] is None


def test_following_begins_with_the_last_lines_and_shows_each_line_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = int(time.time() * 1000)
    cloud = CloudWatch(["one", "two", "two", "three"], began_ms=now - 30_000)
    late = [["late", now - 29_500], ["four", now + 5000]]

    def sleep(_seconds: float) -> None:
        if not late:
            raise KeyboardInterrupt
        text, moment = late.pop(0)
        cloud.events.append({"timestamp": moment, "logStreamName": "s0", "message": text})
        cloud.events.sort(key=lambda event: event["timestamp"])

    monkeypatch.setattr("scar_cli.commands.log.time.sleep", sleep)
    monkeypatch.setattr(log, "selected", lambda **_choice: [FUNCTION])
    monkeypatch.setattr(log, "client", lambda *_words, **_more: cloud)
    result = CliRunner().invoke(scar, ["log", "--raw", "--follow", "--tail", "2"])
    assert result.stdout.splitlines() == ["two", "three", "late", "four"]
