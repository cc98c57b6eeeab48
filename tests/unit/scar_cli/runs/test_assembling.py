"""From log lines, as the runner and Lambda write them, to runs."""

from __future__ import annotations

import pytest

from runtime.logs import Log
from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.logs import Line
from scar_cli.runs.assembling import assembler
from scar_cli.runs.model import Run

FUNCTION = DeployedFunction(
    "f", "stack", "eu-west-1", "lambda-batch", "/aws/lambda/f", "http://q", batch_log_group="/aws/batch/f"
)
LAMBDA, BATCH = FUNCTION.log_group, str(FUNCTION.batch_log_group)
MIB = 1024**2


@pytest.fixture(name="own")
def _own(capsys: pytest.CaptureFixture[str]) -> type[Own]:
    Own.capsys = capsys
    return Own


class Own:
    """Lines of the runner."""

    capsys: pytest.CaptureFixture[str]

    @classmethod
    def line(cls, request: str, message: str, **fields: object) -> str:
        Log(fields={"request_id": request, "function": "f"}).write("INFO", message, fields)
        return cls.capsys.readouterr().out.rstrip("\n")

    @classmethod
    def summary(cls, request: str, key: str, status: str = "done", **fields: object) -> str:
        told = {"subject": f"s3://b/in/{key}", "status": status, **fields}
        return cls.line(request, "summary", **told)

    @classmethod
    def staged_in(cls, request: str, key: str, **fields: object) -> str:
        told = {"subject": f"s3://b/in/{key}", "stage": "stage-in", "duration_ms": 20.5, "bytes": 9, **fields}
        return cls.line(request, "stage", **told)

    @classmethod
    def failed(cls, request: str, key: str, error: str) -> list[str]:
        told = {"subject": f"s3://b/in/{key}", "kind": "ScriptFailed", "error": error}
        return [
            cls.line(request, "summary", status="failed", **told),
            cls.line(request, "failed", **told),
        ]


def start(request: str) -> str:
    return f"START RequestId: {request} Version: $LATEST"


def report(request: str, billed: int, init: str = "") -> str:
    return (
        f"REPORT RequestId: {request}\tDuration: {billed - 0.4} ms\tBilled Duration: {billed} ms\t"
        f"Memory Size: 1024 MB\tMax Memory Used: 100 MB\t{init}"
    )


def runs_of(group: str, *texts: str, stream: str = "2026/01/01/[$LATEST]a") -> list[Run]:
    runs = assembler(FUNCTION, group)
    found = [run for at, text in enumerate(texts) for run in runs.take(Line(1000 + at, "f", stream, text))]
    return found + runs.flush()


def test_a_run_has_the_numbers_of_its_summary_and_of_lambdas_report(own: type[Own]) -> None:
    metrics = {
        "Timestamp": 1,
        "CloudWatchMetrics": [{"Namespace": "scar-cdk", "Metrics": [{"Name": "total_ms"}]}],
    }
    (run,) = runs_of(
        LAMBDA,
        start("1"),
        own.staged_in("1", "a.jpg"),
        own.summary(
            "1",
            "a.jpg",
            cold=True,
            queued_ms=500.5,
            stage_in_ms=20.5,
            run_ms=70,
            stage_out_ms=5.5,
            input_bytes=9,
            output_bytes=4,
            output_files=1,
            memory_bytes=200 * MIB,
            trace="0" * 31 + "1",
            span="0" * 16,
            outputs=["s3://b/out/a.png"],
            total_ms=100.0,
            _aws=metrics,
        ),
        report("1", 101, "Init Duration: 300.50 ms\t"),
    )
    assert (run.function, run.mode, run.status, run.subject) == ("f", "lambda", "done", "s3://b/in/a.jpg")
    assert run.ended_ms - run.started_ms == pytest.approx(100.0)
    assert (run.billed_ms, run.init_ms, run.cold) == (101.0, 300.5, True)
    assert run.memory_given_bytes == 1024 * MIB
    assert run.memory_used_bytes == 290 * MIB, "with the runner"
    assert run.outputs == ("s3://b/out/a.png",)
    assert run.stages() == pytest.approx((200.0, 300.5, 20.5, 0.0, 70.0, 5.5, 4.0))


def test_a_batch_of_messages_is_several_runs_that_share_what_was_billed(own: type[Own]) -> None:
    one, other = runs_of(
        LAMBDA,
        start("1"),
        own.summary("1", "a", total_ms=300),
        own.summary("1", "b", total_ms=100),
        report("1", 500),
    )
    assert (one.subject, one.billed_ms) == ("s3://b/in/a", 375)
    assert (other.subject, other.billed_ms) == ("s3://b/in/b", 125)


def test_a_failed_run_is_one_run_although_the_runner_logs_it_twice(own: type[Own]) -> None:
    """A retry of Lambda has the same id. An event that cannot be read has no summary."""
    again, unreadable = (
        own.failed("1", "a", "It failed"),
        own.line("2", "failed", kind="BadEvent", error="No"),
    )
    found = runs_of(
        LAMBDA, start("1"), *again, report("1", 5), start("1"), *again, report("1", 5), start("2"), unreadable
    )
    assert [(run.kind, run.error, run.billed_ms) for run in found] == [
        ("ScriptFailed", "It failed", 5.0),
        ("ScriptFailed", "It failed", 5.0),
        ("BadEvent", "No", None),
    ]


@pytest.mark.parametrize("reported_first", [True, False])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-01-01T00:00:00.000Z 1 Task timed out after 3.00 seconds", "Task timed out after 3.00 seconds"),
        (
            "RequestId: 1 Error: Runtime exited with error: signal: killed\nRuntime.ExitError",
            "Runtime exited with error: signal: killed",
        ),
    ],
)
def test_a_run_that_lambda_killed_has_the_file_of_its_last_line(
    text: str, reason: str, reported_first: bool, own: type[Own]
) -> None:
    ends = [report("1", 3000), text] if reported_first else [text, report("1", 3000)]
    run, following = runs_of(
        LAMBDA,
        start("1"),
        own.staged_in("1", "a.jpg", trace="0" * 31 + "2"),
        *ends,
        start("2"),
        own.summary("2", "b"),
        report("2", 1),
    )
    assert (run.status, run.subject, run.error) == ("failed", "s3://b/in/a.jpg", reason)
    assert (run.billed_ms, run.stage_in_ms, run.trace) == (3000, 20.5, "0" * 31 + "2")
    assert following.subject == "s3://b/in/b"


def test_a_killed_run_of_a_batch_of_messages_does_not_have_the_file_of_the_one_before(own: type[Own]) -> None:
    timed_out = "2026-01-01T00:00:00.000Z 1 Task timed out after 3.00 seconds"
    lines = [start("1"), own.staged_in("1", "a"), own.summary("1", "a"), timed_out, report("1", 3000)]
    done, killed = runs_of(LAMBDA, *lines)
    assert (done.subject, done.status) == ("s3://b/in/a", "done")
    assert (killed.subject, killed.status) == ("", "failed")


def test_invocations_without_a_file_are_no_runs(own: type[Own]) -> None:
    lines = [
        start("1"),
        own.line("1", "preheated"),
        report("1", 9),
        "output of a script: summary",
        start("2"),
    ]
    assert runs_of(LAMBDA, *lines) == []


def test_a_run_that_is_continued_by_batch_is_one_run_although_its_job_is_logged_too(own: type[Own]) -> None:
    handed_on = [
        line
        for key, job in (("a", "job-a"), ("b", "job-b"))
        for line in (
            own.line("1", "submitted", subject=f"s3://b/in/{key}", job_id=job),
            own.summary("1", key, "delegated", job_id=job, reason="TimedOut", total_ms=100),
        )
    ]
    runs = runs_of(LAMBDA, start("1"), *handed_on, report("1", 200))
    assert [(run.subject, run.status, run.delegated_to, run.billed_ms) for run in runs] == [
        ("s3://b/in/a", "delegated", "job-a", 100.0),
        ("s3://b/in/b", "delegated", "job-b", 100.0),
    ]
    (run,) = runs_of(LAMBDA, start("1"), handed_on[0], report("1", 200))
    assert (run.status, run.billed_ms) == ("submitted", 200.0)


def test_skipped_files_are_counted_once(own: type[Own]) -> None:
    """The runner writes a line `skipped`, and a summary only if it had started with the file."""
    skipped = [own.line("1", "skipped", subject=f"s3://b/in/{key}", reason="empty") for key in "ab"]
    found = runs_of(LAMBDA, *skipped, own.summary("1", "b", status="skipped"), report("1", 5))
    assert [(run.subject, run.status, run.reason) for run in found] == [
        ("s3://b/in/a", "skipped", "empty"),
        ("s3://b/in/b", "skipped", "empty"),
    ]
    assert len(runs_of(BATCH, *skipped, own.summary("1", "b", status="skipped"))) == 2


def test_runs_of_batch_are_known_at_their_summary(own: type[Own]) -> None:
    run, *others = runs_of(
        BATCH, own.summary("job", "a", total_ms=5, attempt="2", memory_limit_bytes=512 * MIB)
    )
    assert not others
    assert (run.mode, run.request_id, run.attempt, run.memory_given_bytes) == ("batch", "job", 2, 512 * MIB)
    (failed,) = runs_of(BATCH, *own.failed("job", "a", "It failed"))
    assert (failed.status, failed.error) == ("failed", "It failed")


def test_a_job_that_was_terminated_has_the_file_of_its_last_line(own: type[Own]) -> None:
    terminated = own.line("job", "failed", kind="Terminated", error="SIGTERM")
    (run,) = runs_of(BATCH, own.staged_in("job", "a.jpg"), terminated)
    assert (run.status, run.kind, run.subject) == ("failed", "Terminated", "s3://b/in/a.jpg")


def test_runs_whose_last_lines_are_missing_are_found_at_the_end(own: type[Own]) -> None:
    (run,) = runs_of(LAMBDA, start("1"), own.summary("1", "a", total_ms=5))
    assert (run.status, run.billed_ms) == ("done", None)


def test_half_of_a_character_is_replaced(own: type[Own]) -> None:
    (run,) = runs_of(BATCH, own.summary("1", "a\ud800b😀", total_ms=5))
    assert run.subject == "s3://b/in/a?b😀"


def test_a_status_of_a_newer_runner_is_left_out(own: type[Own]) -> None:
    assert runs_of(BATCH, own.summary("1", "a", status="postponed")) == []


def test_numbers_of_another_type_are_unknown(own: type[Own]) -> None:
    (run,) = runs_of(
        BATCH, own.summary("1", "a", total_ms=5, queued_ms={"a": 1}, output_bytes="7", run_ms=True)
    )
    assert (run.total_ms, run.queued_ms, run.output_bytes, run.run_ms) == (5, None, 7, None)


def test_a_line_that_is_no_json_is_no_run(own: type[Own]) -> None:
    summary = own.summary("1", "a", total_ms=5).removesuffix("}")
    metrics = ', "_aws": {"Timestamp": 1}}'
    assert len(runs_of(BATCH, summary + metrics)) == 1
    assert runs_of(BATCH, summary + "} more" + metrics) == []
    assert runs_of(BATCH, summary[: len(summary) // 2] + metrics) == []
