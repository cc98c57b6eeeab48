"""Batch's calls and its scheduler in this process: which jobs are taken, and when they run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ministack.services import batch as emulator
from ministack.services import cloudwatch_logs

from local_cloud.batch.api import Batch
from local_cloud.batch.records import ClientError
from local_cloud.ecr.store import RepositoryStore
from local_cloud.state.store import Store
from tests.examples import busybox_image
from tests.oci_images import busybox_layer, write_layout

Job = dict[str, Any]

pytestmark = pytest.mark.skipif(busybox_layer() is None, reason="busybox-static is not installed")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image for jobs, unpacked once."""
    folder = tmp_path_factory.mktemp("images")
    write_layout(folder / "mirror" / "library" / "busybox", {"latest": busybox_image()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCAR_REGISTRY_MIRRORS", f"docker.io=file://{folder}/mirror")
        patch.setenv("SCAR_STORE", str(folder / "store"))
        yield "busybox"


@pytest.fixture
def batch(tmp_path: Path, image: str) -> Iterator[Batch]:
    """It starts no job before `batch.runner.resume()`."""
    emulator.reset()
    store = Store(tmp_path / "state.db")
    batch = Batch(
        parallel=8, endpoint="http://127.0.0.1:1", store=store, images=RepositoryStore(tmp_path / "images")
    )
    yield batch
    batch.runner.pause()
    batch.runner.forget_all()
    batch.runner.wait_until_idle(20)
    emulator.reset()
    store.close()


def make_queue(batch: Batch, name: str, vcpus: int = 2) -> None:
    """A queue with a compute environment and a job definition, all of one name."""
    resources = {"computeEnvironmentName": name, "computeResources": {"maxvCpus": vcpus}}
    emulator._create_compute_environment(resources)
    order = [{"order": 1, "computeEnvironment": name}]
    emulator._create_job_queue({"jobQueueName": name, "computeEnvironmentOrder": order})
    container = {"image": "busybox", "command": ["sh", "-c", "exit 0"]}
    batch.register_job_definition({"jobDefinitionName": name, "containerProperties": container})


def submit(batch: Batch, queue: str, command: str = "exit 0", vcpus: int = 1, **more: Any) -> str:
    overrides = {
        "command": ["sh", "-c", command],
        "resourceRequirements": [{"type": "VCPU", "value": str(vcpus)}],
    }
    asked = {"jobName": "job", "jobQueue": queue, "jobDefinition": queue, "containerOverrides": overrides}
    return str(batch.submit_job({**asked, **more})["jobId"])


def job(batch: Batch, job_id: str) -> Job:
    found: Job = batch.describe_jobs({"jobs": [job_id]})["jobs"][0]
    return found


def until(batch: Batch, job_id: str, *states: str) -> Job:
    deadline = time.monotonic() + 20
    while (found := job(batch, job_id))["status"] not in states:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


def ended(batch: Batch, job_id: str) -> Job:
    return until(batch, job_id, "SUCCEEDED", "FAILED")


def logged(found: Job) -> list[str]:
    """The lines of a job's log."""
    asked = {"logGroupName": "/aws/batch/job", "logStreamName": found["container"]["logStreamName"]}
    return [event["message"] for event in json.loads(cloudwatch_logs._get_log_events(asked)[2])["events"]]


@pytest.fixture
def scheduled(batch: Batch) -> Callable[[], None]:
    """Returns when the scheduler has looked at every job that was submitted before."""

    def wait() -> None:
        make_queue(batch, "last")
        assert ended(batch, submit(batch, "last"))["status"] == "SUCCEEDED"

    return wait


def test_a_disabled_queue_takes_no_jobs(batch: Batch) -> None:
    make_queue(batch, "q")
    batch.update_job_queue({"jobQueue": "q", "state": "DISABLED"})
    with pytest.raises(ClientError, match="is disabled"):
        submit(batch, "q")
    batch.update_job_queue({"jobQueue": "q", "state": "ENABLED"})
    submit(batch, "q")


def test_a_disabled_compute_environment_starts_no_jobs(batch: Batch, scheduled: Callable[[], None]) -> None:
    make_queue(batch, "q")
    emulator._compute_envs["q"]["state"] = "DISABLED"
    waiting = submit(batch, "q")
    batch.runner.resume()
    scheduled()
    assert job(batch, waiting)["status"] == "RUNNABLE"
    emulator._compute_envs["q"]["state"] = "ENABLED"
    assert ended(batch, waiting)["status"] == "SUCCEEDED"


def test_a_compute_environment_that_a_queue_uses_is_not_deleted(batch: Batch) -> None:
    make_queue(batch, "q")
    with pytest.raises(ClientError, match="existing JobQueue relationship: q"):
        batch.delete_compute_environment({"computeEnvironment": "q"})
    batch.delete_job_queue({"jobQueue": "q"})
    batch.delete_compute_environment({"computeEnvironment": "q"})
    assert batch.describe_compute_environments({})["computeEnvironments"] == []


def test_jobs_end_with_their_queue(batch: Batch) -> None:
    make_queue(batch, "q", vcpus=1)
    make_queue(batch, "other")
    batch.runner.resume()
    running = submit(batch, "q", "sleep 1000")
    until(batch, running, "RUNNING")
    waiting = submit(batch, "q")
    other = submit(batch, "other")
    batch.delete_job_queue({"jobQueue": "q"})
    for job_id in (running, waiting):
        found = ended(batch, job_id)
        assert (found["status"], found["statusReason"]) == ("FAILED", "Job queue deleted")
    assert ended(batch, other)["status"] == "SUCCEEDED"


def test_a_job_is_ended_for_a_reason(batch: Batch) -> None:
    make_queue(batch, "q")
    job_id = submit(batch, "q")
    for call in (batch.cancel_job, batch.terminate_job):
        with pytest.raises(ClientError, match="reason is required"):
            call({"jobId": job_id})
    batch.cancel_job({"jobId": job_id, "reason": "not needed"})
    assert (job(batch, job_id)["status"], job(batch, job_id)["statusReason"]) == ("FAILED", "not needed")


def test_pages_of_a_list_hold_each_job_once(batch: Batch) -> None:
    make_queue(batch, "q")
    submitted = {submit(batch, "q") for _ in range(5)}
    listed: list[str] = []
    asked: Job = {"jobQueue": "q", "jobStatus": "SUBMITTED", "maxResults": 2}
    while True:
        page = batch.list_jobs(asked)
        listed += [one["jobId"] for one in page["jobSummaryList"]]
        if "nextToken" not in page:
            break
        asked["nextToken"] = page["nextToken"]
    assert (len(listed), set(listed)) == (5, submitted)


def test_an_inactive_definition_is_not_used(batch: Batch) -> None:
    make_queue(batch, "q")
    container = {"image": "busybox", "command": ["true"]}
    batch.register_job_definition({"jobDefinitionName": "q", "containerProperties": container})
    batch.deregister_job_definition({"jobDefinition": "q:2"})
    assert job(batch, submit(batch, "q"))["jobDefinition"].endswith("/q:1")
    with pytest.raises(ClientError, match="not found or not ACTIVE"):
        submit(batch, "q", jobDefinition="q:2")


def test_jobs_run_while_their_compute_environment_has_vcpus(
    batch: Batch, scheduled: Callable[[], None]
) -> None:
    make_queue(batch, "q", vcpus=2)
    batch.runner.resume()
    first = submit(batch, "q", "sleep 1000", vcpus=2)
    until(batch, first, "RUNNING")
    second, third = (submit(batch, "q", vcpus=2) for _ in range(2))
    scheduled()
    assert [job(batch, one)["status"] for one in (first, second, third)] == [
        "RUNNING",
        "RUNNABLE",
        "RUNNABLE",
    ]
    batch.terminate_job({"jobId": first, "reason": "enough"})
    assert [ended(batch, one)["status"] for one in (second, third)] == ["SUCCEEDED"] * 2


def test_a_job_fails_with_the_one_that_it_depends_on(batch: Batch) -> None:
    make_queue(batch, "q")
    first = submit(batch, "q", "exit 1")
    second = submit(batch, "q", dependsOn=[{"jobId": first}])
    batch.runner.resume()
    found = ended(batch, second)
    assert (found["status"], found["statusReason"]) == ("FAILED", "Dependent Job failed")
    assert found["attempts"] == []


def test_a_job_that_was_terminated_is_not_tried_again(batch: Batch) -> None:
    make_queue(batch, "q")
    batch.runner.resume()
    job_id = submit(batch, "q", "sleep 1000", retryStrategy={"attempts": 3})
    until(batch, job_id, "RUNNING")
    batch.terminate_job({"jobId": job_id, "reason": "enough"})
    found = ended(batch, job_id)
    assert (found["status"], found["statusReason"], len(found["attempts"])) == ("FAILED", "enough", 1)


def test_time_runs_out_for_a_job_that_has_closed_its_output(batch: Batch) -> None:
    make_queue(batch, "q")
    batch.runner.resume()
    command = "exec >&- 2>&-; sleep 100"
    found = ended(batch, submit(batch, "q", command, timeout={"attemptDurationSeconds": 1}))
    assert (found["status"], found["statusReason"]) == ("FAILED", "Job attempt duration exceeded timeout")


def test_output_that_ends_without_a_line_end_is_in_the_log(batch: Batch) -> None:
    make_queue(batch, "q")
    batch.runner.resume()
    found = ended(batch, submit(batch, "q", r"printf 'first\nlast'"))
    assert logged(found) == ["first", "last"]


def test_a_job_sees_nothing_of_the_clouds_own_environment(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the developer's")
    monkeypatch.setenv("GATEWAY_PORT", "4566")
    make_queue(batch, "q")
    batch.runner.resume()
    names = {line.partition("=")[0] for line in logged(ended(batch, submit(batch, "q", "env")))}
    assert {"PATH", "AWS_ENDPOINT_URL", "AWS_BATCH_JOB_ID"} <= names
    assert names.isdisjoint({"AWS_SECRET_ACCESS_KEY", "GATEWAY_PORT", "PYTEST_CURRENT_TEST"})
