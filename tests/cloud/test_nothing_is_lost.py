"""The cloud is stopped or killed in the middle of its work, and comes back with all that it had answered for.

`tests/faults/injected` does the same with files and their events, and `make chaos` with hundreds of kills.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud
from tests.cloud.ecr_images import make_image_function, push, shell_image
from tests.cloud.embedded import (
    CloudUnderTest,
    Shell,
    any_role,
    has_ended,
    make_queue,
    queue_for_rules,
    until,
    zipped,
)

pytestmark = pytest.mark.cloud

GROUP = "/jobs/of-the-test"


def kill(shell: Shell) -> None:
    os.kill(shell.running()["emulator_pid"], signal.SIGKILL)
    until(shell.processes, lambda left: left == [])


SAVED = "SELECT 'saved' FROM item WHERE kind = 'service' AND instr(value, ?)"
"""Whether a text is in what changes seldom, which is saved a moment later."""


def until_saved(shell: Shell, text: str) -> None:
    with closing(sqlite3.connect(shell.state / "state.db")) as store:
        until(lambda: store.execute(SAVED, (text,)).fetchall())


def queue_for_failed_jobs(shell: Shell) -> str:
    """A queue that receives the failures of all jobs and of the children of array jobs."""
    url, arn = queue_for_rules(shell, "failed-jobs")
    events = shell.client("events")
    neither_array_nor_node = {
        "arrayProperties": {"size": [{"exists": False}]},
        "nodeProperties": {"nodeIndex": [{"exists": False}]},
    }
    pattern = {"source": ["aws.batch"], "detail": {"status": ["FAILED"], **neither_array_nor_node}}
    events.put_rule(Name="failed-jobs", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="failed-jobs", Targets=[{"Id": "queue", "Arn": arn}])
    return url


def logged_queue(shell: Shell, script: str) -> tuple[str, str]:
    shell.client("logs").create_log_group(logGroupName=GROUP)
    logs = {"logDriver": "awslogs", "options": {"awslogs-group": GROUP, "awslogs-stream-prefix": "job"}}
    return make_queue(shell, ["sh", "-c", script], containerProperties={"logConfiguration": logs})


def lines(shell: Shell, group: str) -> list[str]:
    pages = shell.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
    return [event["message"] for page in pages for event in page["events"]]


def test_jobs_in_the_middle_of_which_the_cloud_ends_all_come_to_their_end(shell: Shell) -> None:
    """Their log group and the rule for failures are there before the first of them goes on.

    `test_batch` has jobs that a stop interrupts.
    """
    shell.json("local", "start", "--parallel", "2")
    failures = queue_for_failed_jobs(shell)
    queue, definition = logged_queue(
        shell, 'echo x; sleep 0.7; [ "$AWS_BATCH_JOB_ARRAY_INDEX" != 5 ] || exit 3'
    )
    batch = shell.client("batch")
    (described,) = batch.describe_job_definitions(jobDefinitions=[definition])["jobDefinitions"]
    nodes = {"targetNodes": "0:", "container": described["containerProperties"]}
    batch.register_job_definition(
        jobDefinitionName="nodes",
        type="multinode",
        nodeProperties={"numNodes": 2, "mainNode": 0, "nodeRangeProperties": [nodes]},
    )
    submitted = {"jobName": "job", "jobQueue": queue}
    both = batch.submit_job(**submitted, jobDefinition="nodes")["jobId"]
    array = batch.submit_job(**submitted, jobDefinition=definition, arrayProperties={"size": 6})["jobId"]
    jobs = [both, *(f"{array}:{index}" for index in range(6)), array]
    until(lambda: len(lines(shell, GROUP)) >= 3)
    until_saved(shell, definition)
    kill(shell)
    shell.json("local", "start")

    def statuses() -> list[str]:
        found = shell.client("batch").describe_jobs(jobs=jobs)["jobs"]
        by_id = {job["jobId"]: job["status"] for job in found}
        return [by_id.get(job, "gone") for job in jobs]

    until(statuses, lambda found: set(found) <= {"SUCCEEDED", "FAILED"}, within_s=60)
    assert statuses() == ["SUCCEEDED"] * 6 + ["FAILED"] * 2
    (message,) = shell.client("sqs").receive_message(QueueUrl=failures, WaitTimeSeconds=10)["Messages"]
    assert json.loads(message["Body"])["detail"]["jobId"] == f"{array}:5"


def test_what_was_answered_a_moment_before_a_kill_is_there_afterwards(shell: Shell) -> None:
    shell.json("local", "start")
    sqs, logs = shell.client("sqs"), shell.client("logs")
    url = sqs.create_queue(QueueName="messages")["QueueUrl"]
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="stream")
    sqs.send_message(QueueUrl=url, MessageBody="deleted")
    until_saved(shell, "/messages")

    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    sqs.send_message(QueueUrl=url, MessageBody="kept")
    now_ms = int(time.time() * 1000)
    logs.put_log_events(
        logGroupName=GROUP, logStreamName="stream", logEvents=[{"timestamp": now_ms, "message": "a line"}]
    )
    kill(shell)

    shell.json("local", "start")
    messages = shell.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in messages] == ["kept"]
    assert lines(shell, GROUP) == ["a line"]


def test_an_event_that_the_end_of_the_cloud_interrupts_has_used_up_no_attempt(
    shell: Shell, tmp_path: Path
) -> None:
    shell.json("local", "start", "--parallel", "1")
    witness = tmp_path / "runs"
    source = (
        "import time\n"
        "def handle(event, context):\n"
        f"    open({str(witness)!r}, 'a').write('run\\n')\n"
        f"    if len(open({str(witness)!r}).readlines()) == 1: time.sleep(1000)\n"
    )
    function = shell.client("lambda")
    function.create_function(
        FunctionName="once", Runtime="python3.13", Role=any_role(shell), Handler="index.handle", Timeout=900,
        Code={"ZipFile": zipped(index__py=source)},
    )  # fmt: skip
    queue = shell.client("sqs").create_queue(QueueName="failed-events")["QueueUrl"]
    function.put_function_event_invoke_config(
        FunctionName="once",
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:failed-events"}},
    )
    function.invoke(FunctionName="once", InvocationType="Event", Payload=b"{}")
    until(witness.exists)
    shell.scar("local", "stop")
    shell.json("local", "start")
    until(lambda: len(witness.read_text().split()), lambda runs: runs == 2)
    until(lambda: sum("END RequestId" in line for line in lines(shell, "/aws/lambda/once")))
    assert "Messages" not in shell.client("sqs").receive_message(QueueUrl=queue)


def test_the_lines_of_an_invocation_that_a_kill_interrupts_are_in_its_log(
    shell: Shell, tmp_path: Path
) -> None:
    shell.json("local", "start")
    witness = tmp_path / "runs"
    source = (
        "import os, time\n"
        "def handle(event, context):\n"
        f"    first = not os.path.exists({str(witness)!r})\n"
        "    print('line of the first run' if first else 'line of the second run', flush=True)\n"
        f"    open({str(witness)!r}, 'a').close()\n"
        "    if first: time.sleep(1000)\n"
    )
    function = shell.client("lambda")
    function.create_function(
        FunctionName="talks", Runtime="python3.13", Role=any_role(shell), Handler="index.handle", Timeout=900,
        Code={"ZipFile": zipped(index__py=source)},
    )  # fmt: skip
    until_saved(shell, "talks")
    function.invoke(FunctionName="talks", InvocationType="Event", Payload=b"{}")
    until(witness.exists)
    time.sleep(1)  # the age of a line that must not be lost
    kill(shell)
    shell.json("local", "start")

    def said() -> list[str]:
        return sorted(line for line in lines(shell, "/aws/lambda/talks") if line.startswith("line of"))

    until(lambda: sum("END RequestId" in line for line in lines(shell, "/aws/lambda/talks")))
    assert said() == ["line of the first run", "line of the second run"]
    kill(shell)
    shell.json("local", "start")
    assert said() == ["line of the first run", "line of the second run"]


SPEAKS_AND_SLEEPS = """#!/bin/sh
wget -q -O /tmp/event "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"
echo line of a run in $AWS_LAMBDA_LOG_STREAM_NAME
exec sleep 1000
"""


def test_the_lines_of_an_image_function_that_a_kill_interrupts_are_in_its_log(shell: Shell) -> None:
    shell.json("local", "start")
    image = push(running_cloud(shell), shell_image(runtime=SPEAKS_AND_SLEEPS))
    function = make_image_function(running_cloud(shell), image.uri, Timeout=900)
    group = f"/aws/lambda/{function.name}"
    until_saved(shell, function.name)
    shell.client("lambda").invoke(FunctionName=function.name, InvocationType="Event", Payload=b"{}")
    until(lambda: is_kept(shell, "line of a run"))
    kill(shell)
    shell.json("local", "start")
    events = shell.client("logs").filter_log_events(logGroupName=group)["events"]
    interrupted = events[0]["logStreamName"]  # the event runs again at once, in another environment
    said = [event["message"] for event in events if event["logStreamName"] == interrupted]
    assert said == [f"line of a run in {interrupted}"]


def is_kept(shell: Shell, text: str) -> bool:
    """Whether a line of a running invocation has this text."""
    with sqlite3.connect(shell.state / "state.db") as store:
        found = "SELECT 1 FROM item WHERE kind = 'running-log' AND instr(value, ?)"
        return bool(store.execute(found, (text,)).fetchall())


def running_cloud(shell: Shell) -> CloudUnderTest:
    cloud = Cloud(shell.state)
    running = cloud.running()
    assert running is not None
    return CloudUnderTest(cloud, running)


class SmallDisk(Shell):
    """`scar local` on a disk of 48 MB, which only what runs in its mount namespace sees."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "cloud")
        mount = f"mount -t tmpfs -o size=48m none {folder} && echo ready && exec sleep 1000"
        self.holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", mount], stdout=subprocess.PIPE, text=True
        )
        assert self.holder.stdout is not None
        self.ready = self.holder.stdout.readline() == "ready\n"

    @property
    def visible_state(self) -> Path:
        return Path(f"/proc/{self.holder.pid}/root{self.state}")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        into = ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "--"]
        environment = {**os.environ, "SCAR_LOCAL_STATE": str(self.state)}
        return subprocess.run(
            [*into, *command], env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    def scar(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "scar_cli", *arguments)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = SmallDisk(tmp_path)
    if not disk.ready:
        disk.holder.wait()
        pytest.skip("nothing may be mounted here")
    yield disk
    disk.scar("local", "stop")
    disk.holder.kill()
    disk.holder.wait()


def test_what_a_full_disk_cannot_keep_is_refused_and_the_rest_stays(small_disk: SmallDisk) -> None:
    small_disk.json("local", "start")
    running = json.loads(small_disk.run("cat", str(small_disk.state / "running.json")).stdout)
    url = small_disk.client("sqs").create_queue(QueueName="messages")["QueueUrl"]
    look = "import sqlite3, sys; path, query, text = sys.argv[1:]; "
    look += "print(sqlite3.connect(path).execute(query, [text]).fetchall())"
    words = (sys.executable, "-c", look, str(small_disk.state / "state.db"), SAVED, "/messages")
    until(lambda: "saved" in small_disk.run(*words).stdout)
    filler = small_disk.state.with_name("filler")
    small_disk.run("dd", "if=/dev/zero", f"of={filler}", "bs=1M")
    kept = []
    with pytest.raises(ClientError, match="DiskFull"):
        for _ in range(200):
            body = f"{uuid.uuid4()} {'x' * 100_000}"
            small_disk.client("sqs").send_message(QueueUrl=url, MessageBody=body)
            kept.append(body)
    small_disk.run("rm", str(filler))
    last = f"{uuid.uuid4()} there is room again"
    small_disk.client("sqs").send_message(QueueUrl=url, MessageBody=last)
    os.kill(running["emulator_pid"], signal.SIGKILL)
    until(partial(has_ended, running["pid"]))
    small_disk.json("local", "start")
    found: set[str] = set()
    while (
        messages := small_disk.client("sqs")
        .receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        .get("Messages")
    ):
        found.update(message["Body"] for message in messages)
    assert {*kept, last} <= found
