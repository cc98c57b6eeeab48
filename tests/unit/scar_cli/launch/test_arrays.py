"""Array jobs of a launch, submitted to a server that takes calls as S3 and Batch do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.session import client
from scar_cli.errors import UserError
from scar_cli.launch import arrays
from scar_cli.launch.arrays import ArrayLaunch
from scar_cli.launch.files import InputFile
from scar_cli.launch.journal import Journal, accepted_files, read
from scar_cli.launch.pace import Patience
from tests.aws_handler import AwsHandler, aws_endpoint

QUICK = Patience(answer_s=5, first_pause_s=0.01, longest_pause_s=0.01, give_up_s=30)
FUNCTION = DeployedFunction(
    *("f", "stack", "us-east-1", "batch", "/aws/lambda/f", "http://queue"),
    job_queue="queue",
    job_definition="definition:1",
    event_bucket="events",
)


@dataclass
class Cloud:
    """What it was sent, and how it answers."""

    objects: dict[str, bytes] = field(default_factory=dict)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    """For the next calls of SubmitJob: `lost`, or the code of an error; then they succeed."""
    calls: int = 0

    def lines(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """The events of a job, as its children read them."""
        variables = {one["name"]: one["value"] for one in job["containerOverrides"]["environment"]}
        content = self.objects[variables["SCAR_EVENTS_URI"].removeprefix("s3://")]
        width = int(variables["SCAR_EVENTS_WIDTH"])
        assert len(content) % width == 0
        return [json.loads(content[at : at + width]) for at in range(0, len(content), width)]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    cloud = Cloud()

    class Handler(AwsHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:  # noqa: N802 (the name that http.server calls)
            cloud.objects[self.path.lstrip("/")] = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(200, b"")

        def do_POST(self) -> None:  # noqa: N802 (the name that http.server calls)
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/v1/listjobs":
                (name,) = request["filters"][0]["values"]
                found = [one for one in cloud.jobs if one["jobName"] == name]
                self.answer(200, json.dumps({"jobSummaryList": found}).encode())
                return
            cloud.calls += 1
            answer = cloud.answers.pop(0) if cloud.answers else ""
            if answer in {"", "lost"}:
                cloud.jobs.append({**request, "jobId": f"job-{len(cloud.jobs)}"})
            if answer == "lost":
                self.close_connection = True
            elif answer:
                self.answer(429 if answer == "TooManyRequestsException" else 400, b"{}", answer)
            else:
                self.answer(200, json.dumps(cloud.jobs[-1]).encode())

    monkeypatch.setattr(arrays, "_VISIBLE_AFTER_S", 0.01)
    with aws_endpoint(Handler, monkeypatch):
        yield cloud


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.create(tmp_path / "journal.jsonl", {"launch": "scar-launch-1"})
    yield journal
    journal.close()


def files(count: int, source: int = 0) -> list[InputFile]:
    return [InputFile("in", f"{source}/ü{'x' * (n % 7)}-{n}", 1, "e", source) for n in range(count)]


def launched(
    journal: Journal, some: list[InputFile], patience: Patience = QUICK, **options: Any
) -> ArrayLaunch:
    launch = ArrayLaunch(FUNCTION, journal, s3=client("s3"), patience=patience, **options)
    launch.run(iter(some), lambda _launch: None)
    return launch


def keys(events: list[dict[str, Any]]) -> list[str]:
    from urllib.parse import unquote_plus

    return [unquote_plus(event["Records"][0]["s3"]["object"]["key"]) for event in events]


def test_few_calls_submit_many_files(cloud: Cloud, journal: Journal) -> None:
    some = files(25_000)
    launch = launched(journal, some)
    assert [job["arrayProperties"]["size"] for job in cloud.jobs] == [10_000, 10_000, 5_000]
    assert {(job["jobQueue"], job["jobDefinition"]) for job in cloud.jobs} == {("queue", "definition:1")}
    assert len({job["jobName"] for job in cloud.jobs}) == 3
    assert [key for job in cloud.jobs for key in keys(cloud.lines(job))] == [one.key for one in some]
    event = cloud.lines(cloud.jobs[0])[0]
    assert event["Records"][0]["s3"]["configurationId"] == "scar-launch-1"
    assert (launch.sent, launch.jobs) == (25_000, ["job-0", "job-1", "job-2"])
    assert (journal.record.accepted, journal.record.numbered) == (25_000, 25_000)


def test_a_single_file_is_a_single_job_with_the_index_of_its_line(cloud: Cloud, journal: Journal) -> None:
    launched(journal, files(1))
    (job,) = cloud.jobs
    assert "arrayProperties" not in job
    assert {"name": "SCAR_EVENTS_INDEX", "value": "0"} in job["containerOverrides"]["environment"]
    assert len(cloud.lines(job)) == 1


def test_each_folder_has_arrays_of_its_own(cloud: Cloud, journal: Journal) -> None:
    launched(journal, [*files(3), *files(2, source=1)])
    journal.close()
    assert [job["arrayProperties"]["size"] for job in cloud.jobs] == [3, 2]
    assert list(accepted_files(journal.path)) == [
        (one.source, one.key) for one in [*files(3), *files(2, source=1)]
    ]
    record = read(journal.path)
    assert (record.accepted, record.pending, record.array) == (5, {}, None)
    assert record.position == (1, files(2, source=1)[-1].key)


def test_a_rate_makes_arrays_smaller_and_waits_between_them(
    cloud: Cloud, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    launched(journal, files(250), rate=2.0)
    assert [job["arrayProperties"]["size"] for job in cloud.jobs] == [120, 120, 10]
    assert [round(pause, -1) for pause in pauses] == [60, 60, 0]


def test_throttled_calls_are_repeated_without_a_second_job(cloud: Cloud, journal: Journal) -> None:
    cloud.answers = ["TooManyRequestsException"] * 3
    assert launched(journal, files(5)).sent == 5
    assert (cloud.calls, len(cloud.jobs)) == (4, 1)


def test_a_lost_response_does_not_submit_a_second_job(cloud: Cloud, journal: Journal) -> None:
    cloud.answers = ["lost"]
    launch = launched(journal, files(5))
    assert (cloud.calls, launch.jobs) == (1, ["job-0"])


@pytest.mark.parametrize("moment", ["stored", "recorded", "submitted"])
def test_a_launch_that_is_killed_at_any_moment_submits_each_file_once(
    moment: str, cloud: Cloud, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the journal knows the stored events, before the job, and before the journal knows the job."""

    class KilledError(BaseException):
        pass

    def killed(*_: Any, **_more: Any) -> Any:
        raise KilledError

    where = {
        "stored": (Journal, "submitting"),
        "recorded": (ArrayLaunch, "_request"),
        "submitted": (Journal, "submitted"),
    }[moment]
    with monkeypatch.context() as patched:
        patched.setattr(*where, killed)
        with pytest.raises(KilledError):
            launched(journal, files(5))
    journal.close()
    journal = Journal.resume(journal.path)
    done = journal.record.numbered
    launched(journal, files(8)[done:])
    journal.close()
    assert sorted(key for job in cloud.jobs for key in keys(cloud.lines(job))) == sorted(
        one.key for one in files(8)
    )
    assert sorted(accepted_files(journal.path)) == sorted((0, one.key) for one in files(8))


def test_an_error_that_stays_ends_the_launch_and_its_events_are_pending(
    cloud: Cloud, journal: Journal
) -> None:
    cloud.answers = ["AccessDeniedException"]
    with pytest.raises(UserError, match="SubmitJob is not allowed"):
        launched(journal, files(5))
    assert (cloud.calls, journal.record.array and journal.record.array.count) == (1, 5)


def test_a_batch_that_throttles_for_long_ends_the_launch(cloud: Cloud, journal: Journal) -> None:
    cloud.answers = ["TooManyRequestsException"] * 10_000
    with pytest.raises(UserError, match=r"Batch has not accepted a job for .*TooManyRequestsException"):
        launched(journal, files(5), replace(QUICK, give_up_s=0.3))
