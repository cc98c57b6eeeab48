"""Batch's calls and its scheduler in this process: which jobs are taken, and when they run."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ministack.services import batch as emulator
from ministack.services import cloudwatch_logs, efs, eventbridge

from local_cloud import leash
from local_cloud.batch import volumes
from local_cloud.batch.api import Batch
from local_cloud.batch.errors import ClientError
from local_cloud.batch.records import Scope
from local_cloud.ecr.store import RepositoryStore
from local_cloud.state.store import Store
from tests.examples import busybox_image
from tests.oci_images import busybox_layer, write_layout

Job = dict[str, Any]
SCOPE = Scope("000000000000", "us-east-1")

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
        parallel=8,
        endpoint="http://127.0.0.1:1",
        store=store,
        images=RepositoryStore(tmp_path / "images"),
        file_systems=tmp_path / "efs",
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


# Array jobs.


def children(batch: Batch, array: str) -> list[Job]:
    """The records of an array job's children."""
    size = job(batch, array)["arrayProperties"]["size"]
    found: list[Job] = batch.describe_jobs({"jobs": [f"{array}:{index}" for index in range(size)]})["jobs"]
    return found


def test_each_child_of_an_array_job_has_its_index(batch: Batch) -> None:
    make_queue(batch, "q", vcpus=8)
    batch.runner.resume()
    command = "echo $AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ARRAY_INDEX of $AWS_BATCH_JOB_ARRAY_SIZE"
    array = submit(batch, "q", command, arrayProperties={"size": 3})
    found = ended(batch, array)
    assert found["status"] == "SUCCEEDED"
    assert {state: n for state, n in found["arrayProperties"]["statusSummary"].items() if n} == {
        "SUCCEEDED": 3
    }
    assert [logged(child) for child in children(batch, array)] == [
        [f"{array}:{index} {index} of 3"] for index in range(3)
    ]


def test_an_array_job_fails_with_a_child_when_all_have_ended(batch: Batch) -> None:
    make_queue(batch, "q", vcpus=8)
    batch.runner.resume()
    command = "[ $AWS_BATCH_JOB_ARRAY_INDEX != 0 ]"
    array = submit(batch, "q", command, arrayProperties={"size": 3}, retryStrategy={"attempts": 2})
    assert ended(batch, array)["statusReason"] == "Array Child Job failed"
    found = [(child["status"], len(child["attempts"])) for child in children(batch, array)]
    assert found == [("FAILED", 2), ("SUCCEEDED", 1), ("SUCCEEDED", 1)]


def test_children_are_listed_below_their_array_job_alone(batch: Batch) -> None:
    make_queue(batch, "q")
    array, single = submit(batch, "q", arrayProperties={"size": 2}), submit(batch, "q")
    listed = batch.list_jobs({"jobQueue": "q", "jobStatus": "SUBMITTED"})["jobSummaryList"]
    assert {one["jobId"]: one.get("arrayProperties") for one in listed} == {array: {"size": 2}, single: None}
    below = batch.list_jobs({"arrayJobId": array, "jobStatus": "PENDING"})["jobSummaryList"]
    assert [(one["jobId"], one["arrayProperties"]) for one in below] == [
        (f"{array}:{index}", {"index": index}) for index in range(2)
    ]
    for wrong in ({}, {"jobQueue": "q", "arrayJobId": array}):
        with pytest.raises(ClientError, match="One of jobQueue, arrayJobId and multiNodeJobId"):
            batch.list_jobs(wrong)


def test_children_wait_for_each_other_or_for_those_of_another_array_job(batch: Batch) -> None:
    make_queue(batch, "q", vcpus=8)
    size = {"size": 2}
    one_by_one = submit(batch, "q", arrayProperties=size, dependsOn=[{"type": "SEQUENTIAL"}])
    failing = "[ $AWS_BATCH_JOB_ARRAY_INDEX = 1 ]"
    first = submit(batch, "q", failing, arrayProperties=size)
    dependency = {"type": "N_TO_N", "jobId": first}
    second = submit(batch, "q", arrayProperties=size, dependsOn=[dependency])
    last = submit(batch, "q", dependsOn=[{"jobId": one_by_one}])
    batch.runner.resume()
    assert ended(batch, last)["status"] == "SUCCEEDED"
    zero, one = children(batch, one_by_one)
    assert zero["stoppedAt"] <= one["startedAt"]
    ended(batch, second)
    assert [child["status"] for child in children(batch, second)] == ["FAILED", "SUCCEEDED"]
    assert children(batch, second)[0]["statusReason"] == "Dependent Job failed"


def test_all_children_end_with_their_array_job(batch: Batch) -> None:
    make_queue(batch, "q", vcpus=1)
    batch.runner.resume()
    array = submit(batch, "q", "sleep 1000", arrayProperties={"size": 3})
    until(batch, f"{array}:0", "RUNNING")
    assert job(batch, array)["status"] == "PENDING"
    batch.cancel_job({"jobId": array, "reason": "not needed"})
    assert [child["status"] for child in children(batch, array)] == ["RUNNING", "FAILED", "FAILED"]
    batch.terminate_job({"jobId": array, "reason": "enough"})
    assert (ended(batch, array)["status"], job(batch, array)["statusReason"]) == ("FAILED", "enough")
    assert [child["statusReason"] for child in children(batch, array)] == ["enough", *["not needed"] * 2]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"arrayProperties": {"size": 1}}, "between 2 and 10000"),
        ({"arrayProperties": {"size": 10_001}}, "between 2 and 10000"),
        ({"dependsOn": [{"type": "SEQUENTIAL"}]}, "Only an array job"),
        ({"dependsOn": [{}]}, "needs a jobId"),
        (
            {"arrayProperties": {"size": 2}, "dependsOn": [{"type": "N_TO_N", "jobId": "x"}]},
            "array job of size 2",
        ),
        ({"nodeOverrides": {"numNodes": 2}}, "type multinode"),
    ],
)
def test_a_submission_that_aws_rejects_is_rejected(batch: Batch, more: Job, said: str) -> None:
    make_queue(batch, "q")
    with pytest.raises(ClientError, match=said):
        submit(batch, "q", **more)


def test_children_that_a_restart_interrupts_are_run_again(batch: Batch) -> None:
    make_queue(batch, "q", vcpus=8)
    array = submit(batch, "q", "exit $AWS_BATCH_JOB_ARRAY_INDEX", arrayProperties={"size": 3})
    with batch._store.transaction():
        for index, state in enumerate(("SUCCEEDED", "RUNNING", "RUNNABLE")):
            batch.runner._set_state(SCOPE, emulator._jobs[f"{array}:{index}"], state)
    again = Batch(
        parallel=8,
        endpoint="http://127.0.0.1:1",
        store=batch._store,
        images=batch.runner._images,
        file_systems=batch.runner._file_systems,
    )
    emulator._jobs.clear()
    again.restore()
    assert {
        n: job(again, array)["arrayProperties"]["statusSummary"][n] for n in ("SUCCEEDED", "RUNNABLE")
    } == {
        "SUCCEEDED": 1,
        "RUNNABLE": 2,
    }
    again.runner.resume()
    assert ended(again, array)["status"] == "FAILED"
    found = [(child["status"], len(child["attempts"])) for child in children(again, array)]
    assert found == [("SUCCEEDED", 0), ("FAILED", 1), ("FAILED", 1)]


# Multi-node jobs.


def multi_node(batch: Batch, command: str, nodes: int = 3, **more: Any) -> None:
    """A job definition `nodes`; its main node is node 1."""
    container = {"image": "busybox", "command": ["sh", "-c", command], "vcpus": 1, "memory": 100}
    properties = {
        "numNodes": nodes,
        "mainNode": 1,
        "nodeRangeProperties": [{"targetNodes": "0:", "container": container}],
    }
    definition = {"jobDefinitionName": "nodes", "type": "multinode", "nodeProperties": properties}
    batch.register_job_definition({**definition, **more})


def submit_nodes(batch: Batch, **more: Any) -> str:
    asked = {"jobName": "job", "jobQueue": "q", "jobDefinition": "nodes"}
    return str(batch.submit_job({**asked, **more})["jobId"])


def nodes_of(batch: Batch, job_id: str) -> list[Job]:
    number = job(batch, job_id)["nodeProperties"]["numNodes"]
    found: list[Job] = batch.describe_jobs({"jobs": [f"{job_id}#{index}" for index in range(number)]})["jobs"]
    return found


MEET = """
me=$AWS_BATCH_JOB_NODE_INDEX
address=$(ip -o -4 addr show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/')
if [ $me = $AWS_BATCH_JOB_MAIN_NODE_INDEX ]; then
    [ -z "$AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS" ] || exit 9
    mkfifo /tmp/open  # at the end of its input, nc closes the connection, before the other node has written
    nc -l -p 22 <>/tmp/open
    nc -l -p 5002 <>/tmp/open
else
    port=5002; [ $me = 2 ] || port=22
    nc -l -p 22 </dev/null &  # the same port as the main node's
    until echo "$me of $AWS_BATCH_JOB_NUM_NODES at $address in $AWS_BATCH_JOB_ID, $GIVEN" |
        nc $AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS $port; do sleep 0.1; done
    sleep 1000
fi
"""


def test_the_nodes_of_a_job_reach_each_other_and_end_with_the_main_node(batch: Batch) -> None:
    make_queue(batch, "q", vcpus=8)
    multi_node(batch, MEET, nodes=2)
    batch.runner.resume()
    given = {"containerOverrides": {"environment": [{"name": "GIVEN", "value": "a value"}]}}
    overrides = {"numNodes": 3, "nodePropertyOverrides": [{"targetNodes": "0:", **given}]}
    job_id = submit_nodes(batch, nodeOverrides=overrides)
    found = ended(batch, job_id)
    zero, main, two = nodes_of(batch, job_id)
    assert (found["status"], main["status"], main["nodeProperties"]) == (
        "SUCCEEDED",
        "SUCCEEDED",
        {"nodeIndex": 1, "isMainNode": True},
    )
    assert logged(main) == [
        f"{index} of 3 at 10.111.0.{index + 1} in {job_id}#{index}, a value" for index in (0, 2)
    ]
    assert found["attempts"][0]["container"]["exitCode"] == 0
    assert "container" not in found
    assert [node["statusReason"] for node in (zero, two)] == ["The main node has ended"] * 2


def test_the_main_node_decides_and_its_failure_starts_all_nodes_again(batch: Batch) -> None:
    make_queue(batch, "q", vcpus=8)
    main = "[ $AWS_BATCH_JOB_NODE_INDEX != 1 ] || { sleep 1; exit $((3 - $AWS_BATCH_JOB_ATTEMPT)); }"
    multi_node(batch, f"{main}; exit 7", retryStrategy={"attempts": 2})
    batch.runner.resume()
    job_id = submit_nodes(batch)
    found = ended(batch, job_id)
    assert (found["status"], [attempt["container"]["exitCode"] for attempt in found["attempts"]]) == (
        "FAILED",
        [2, 1],
    )
    assert [len(node["attempts"]) for node in nodes_of(batch, job_id)] == [2, 2, 2]
    listed = batch.list_jobs({"multiNodeJobId": job_id, "jobStatus": "FAILED"})["jobSummaryList"]
    assert [one["nodeProperties"]["nodeIndex"] for one in listed] == [0, 1, 2]
    by_queue = batch.list_jobs({"jobQueue": "q", "jobStatus": "FAILED"})["jobSummaryList"]
    assert [(one["jobId"], one["nodeProperties"]) for one in by_queue] == [(job_id, {"numNodes": 3})]


def test_all_nodes_end_when_their_job_is_terminated(batch: Batch) -> None:
    make_queue(batch, "q", vcpus=8)
    multi_node(batch, "sleep 1000")
    waiting = submit_nodes(batch)
    batch.cancel_job({"jobId": waiting, "reason": "not needed"})
    assert {node["status"] for node in nodes_of(batch, waiting)} == {"FAILED"}
    batch.runner.resume()
    job_id = submit_nodes(batch)
    for index in range(3):
        until(batch, f"{job_id}#{index}", "RUNNING")
    batch.terminate_job({"jobId": f"{job_id}#2", "reason": "enough"})
    assert (ended(batch, job_id)["status"], job(batch, job_id)["statusReason"]) == ("FAILED", "enough")
    assert [node["statusReason"] for node in nodes_of(batch, job_id)] == ["enough"] * 3


def test_a_multi_node_job_needs_the_vcpus_of_all_its_nodes(
    batch: Batch, scheduled: Callable[[], None]
) -> None:
    make_queue(batch, "q", vcpus=2)
    multi_node(batch, "true")
    batch.runner.resume()
    job_id = submit_nodes(batch)
    scheduled()
    assert "CPU requirement" in job(batch, job_id)["statusReason"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"platformCapabilities": ["FARGATE"]}, "not supported on Fargate"),
        ({"nodeProperties": {"numNodes": 0, "mainNode": 0}}, "numNodes must be between 1 and 1000"),
        ({"nodeProperties": {"numNodes": 2, "mainNode": 2}}, "mainNode must be less than numNodes"),
        ({"nodeProperties": {"numNodes": 2, "mainNode": 0}}, "No nodeRangeProperties for node 0"),
    ],
)
def test_a_multi_node_definition_that_aws_rejects_is_rejected(batch: Batch, wrong: Job, said: str) -> None:
    with pytest.raises(ClientError, match=said):
        multi_node(batch, "true", **wrong)


# Lists, lost hosts, and jobs that are stuck.


def test_jobs_are_listed_by_name_definition_and_time_in_any_state(batch: Batch) -> None:
    make_queue(batch, "q")
    first, second = submit(batch, "q", jobName="One"), submit(batch, "q", jobName="two")
    batch.cancel_job({"jobId": first, "reason": "not needed"})
    definition, created = job(batch, first)["jobDefinition"], job(batch, second)["createdAt"]

    def listed(name: str, *values: str) -> set[str]:
        filters = [{"name": name, "values": list(values)}]
        found = batch.list_jobs({"jobQueue": "q", "jobStatus": "RUNNING", "filters": filters})
        return {one["jobId"] for one in found["jobSummaryList"]}

    assert (listed("JOB_NAME", "one"), listed("JOB_NAME", "t*")) == ({first}, {second})
    for value in ("q", "q*", definition):
        assert listed("JOB_DEFINITION", value) == {first, second}
    assert listed("JOB_DEFINITION", "Q", definition[:-1] + "2") == set()
    assert listed("AFTER_CREATED_AT", str(created)) == set()
    assert second in listed("BEFORE_CREATED_AT", str(created + 1))
    with pytest.raises(ClientError, match="Unknown filter: SIZE"):
        listed("SIZE", "1")


def reclaim_host() -> None:
    """Kill the keeper of the only container that this process runs, as if its machine was gone."""
    (keeper,) = [process for process in leash.children() if b"contain" in cmdline(process)]
    os.kill(keeper, signal.SIGKILL)


def cmdline(process: int) -> list[bytes]:
    return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")


@pytest.mark.parametrize(
    ("environment", "reason", "exit_code"),
    [("SPOT", "Host EC2 (instance i-", None), ("FARGATE_SPOT", "Your Spot Task was interrupted.", 137)],
)
def test_a_job_whose_host_is_reclaimed_is_tried_again(
    batch: Batch, environment: str, reason: str, exit_code: int | None
) -> None:
    make_queue(batch, "q")
    emulator._compute_envs["q"]["computeResources"]["type"] = environment
    batch.runner.resume()
    rules = [
        {"onStatusReason": "Host EC2*", "action": "RETRY"},
        {"onStatusReason": "Your Spot Task*", "action": "RETRY"},
        {"onReason": "*", "action": "EXIT"},
    ]
    command = "[ $AWS_BATCH_JOB_ATTEMPT = 2 ] || sleep 1000"
    job_id = submit(batch, "q", command, retryStrategy={"attempts": 3, "evaluateOnExit": rules})
    until(batch, job_id, "RUNNING")
    reclaim_host()
    found = ended(batch, job_id)
    assert [attempt["container"].get("exitCode") for attempt in found["attempts"]] == [exit_code, 0]
    assert found["attempts"][0]["statusReason"].startswith(reason)


def test_a_job_that_uses_more_memory_than_it_has_is_killed(batch: Batch) -> None:
    make_queue(batch, "q")
    batch.runner.resume()
    rules = [{"onReason": "OutOfMemoryError:*", "action": "EXIT"}]
    memory = {"type": "MEMORY", "value": "64"}
    overrides = {"resourceRequirements": [memory]}
    filling = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived"
    sharing = (
        "x=$(head -c 20000000 /dev/zero | tr '\\0' x); (sleep 0.5; :) & (sleep 0.5; :) & wait; echo survived"
    )
    jobs = [
        submit(
            batch,
            "q",
            retryStrategy={"attempts": 3, "evaluateOnExit": rules},
            containerOverrides={**overrides, "command": ["sh", "-c", command]},
        )
        for command in (filling, sharing)
    ]
    killed, survived = (ended(batch, job_id) for job_id in jobs)
    assert logged(killed) == []
    assert [attempt["container"]["exitCode"] for attempt in killed["attempts"]] == [137]
    assert killed["container"]["reason"] == "OutOfMemoryError: Container killed due to memory usage"
    assert killed["statusReason"] == "Essential container in task exited"
    assert logged(survived) == ["survived"]


def test_gpus_and_storage_are_recorded_and_overridden(batch: Batch) -> None:
    make_queue(batch, "q")
    gpu = {"type": "GPU", "value": "1"}
    container = {
        "image": "busybox",
        "resourceRequirements": [gpu, {"type": "MEMORY", "value": "64"}, {"type": "VCPU", "value": "1"}],
        "ephemeralStorage": {"sizeInGiB": 100},
    }
    batch.register_job_definition({"jobDefinitionName": "g", "containerProperties": container})
    larger = {"resourceRequirements": [{"type": "MEMORY", "value": "128"}, {"type": "VCPU", "value": "2"}]}
    found = job(batch, submit(batch, "q", jobDefinition="g", containerOverrides=larger))["container"]
    asked = {entry["type"]: entry["value"] for entry in found["resourceRequirements"]}
    assert asked == {"GPU": "1", "MEMORY": "128", "VCPU": "2"}
    assert found["ephemeralStorage"] == {"sizeInGiB": 100}


def test_jobs_share_the_files_of_a_file_system(batch: Batch, tmp_path: Path) -> None:
    make_queue(batch, "q")
    volumes = [
        {"name": "all", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}},
        {
            "name": "mine",
            "efsVolumeConfiguration": {
                "fileSystemId": "fs-1",
                "authorizationConfig": {"accessPointId": "fsap-1", "iam": "ENABLED"},
            },
        },
        {"name": "bad", "efsVolumeConfiguration": {"fileSystemId": "fs-1", "rootDirectory": "/../fs-2"}},
    ]

    def register(name: str, **points: str) -> None:
        mounted = [
            {"sourceVolume": volume, "containerPath": path, "readOnly": volume == "all"}
            for volume, path in points.items()
        ]
        container = {"image": "busybox", "volumes": volumes, "mountPoints": mounted}
        batch.register_job_definition({"jobDefinitionName": name, "containerProperties": container})

    register("writes", mine="/mnt/mine")
    register("reads", all="/mnt/all")
    register("leads-out", bad="/mnt/bad")
    batch.runner.resume()
    writing = submit(batch, "q", "echo text > /mnt/mine/file", jobDefinition="writes")
    after = [{"jobId": writing}]
    command = "cat /mnt/all/fsap-1/file; echo more 2>&1 > /mnt/all/more || echo read-only"
    reading = submit(batch, "q", command, jobDefinition="reads", dependsOn=after)
    text, *_error, last = logged(ended(batch, reading))
    assert (text, last) == ("text", "read-only")
    assert (tmp_path / "efs/fs-1/fsap-1/file").read_text() == "text\n"
    found = ended(batch, submit(batch, "q", jobDefinition="leads-out"))
    assert "fs-1:/../fs-2 is invalid" in found["container"]["reason"]


def test_an_access_point_of_aws_has_a_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efs, "_describe_access_points", efs._describe_access_points)
    volumes.install()

    def described(**query: str) -> list[Job]:
        found: list[Job] = json.loads(efs._describe_access_points(query)[2])["AccessPoints"]
        return found

    (found,) = described(AccessPointId="fsap-0123456789abcdef0")
    assert found["FileSystemId"] == "fs-0123456789abcdef0"
    assert described(AccessPointId="../x") == described() == []


def test_a_job_that_can_never_run_is_cancelled_when_its_queue_says_so(
    batch: Batch, scheduled: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_queue(batch, "q", vcpus=1)
    reason = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
    action = {"reason": reason, "state": "RUNNABLE", "maxTimeSeconds": 600, "action": "CANCEL"}
    batch.update_job_queue({"jobQueue": "q", "jobStateTimeLimitActions": [action]})
    sent: list[Job] = []
    monkeypatch.setattr(eventbridge, "_put_events", lambda request, **_: sent.extend(request["Entries"]))
    batch.runner.resume()
    stuck = submit(batch, "q", vcpus=2)
    scheduled()
    assert job(batch, stuck)["status"] == "RUNNABLE"
    assert job(batch, stuck)["statusReason"].startswith(f"{reason} - ")
    scheduled()
    (event,) = (one for one in sent if one["DetailType"] == "Batch Job Queue Blocked")
    assert json.loads(event["Detail"])["statusReason"].startswith(f"{reason} - ")
    assert event["Resources"][1].endswith(":job-queue/q")
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 600)
    found = ended(batch, stuck)
    assert found["statusReason"] == f"Canceled by JobStateTimeLimit action due to reason: {reason}"


@pytest.mark.parametrize("wrong", [{"maxTimeSeconds": 599}, {"state": "RUNNING"}, {"action": "STOP"}])
def test_a_queue_is_created_with_valid_time_limits_alone(batch: Batch, wrong: Job) -> None:
    action = {"reason": "x", "state": "RUNNABLE", "maxTimeSeconds": 600, "action": "CANCEL"}
    queue = {"jobQueueName": "q", "priority": 1, "computeEnvironmentOrder": []}
    with pytest.raises(ClientError):
        batch.create_job_queue({**queue, "jobStateTimeLimitActions": [{**action, **wrong}]})
    batch.create_job_queue({**queue, "jobStateTimeLimitActions": [action]})
    assert emulator._job_queues["q"]["jobStateTimeLimitActions"] == [action]
