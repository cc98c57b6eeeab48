"""From an FDL file to processed files: the CDK app, CloudFormation, events, runner, containers.

One stack serves all tests here, since a deployment takes its time: nine functions on one bucket.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests import oci_images
from tests.cloud.deployments import deploy
from tests.cloud.embedded import CloudUnderTest
from tests.registry_server import REGISTRY_PROGRAM, real_registry
from tests.unit.runtime.event_shapes import s3_event

Found = TypeVar("Found")

pytestmark = pytest.mark.cloud

BUCKET = "odd-files"
SLEEP = "987654"
SHORT_SLEEP = "0.1987654"

SCRIPTS = {
    "copy.sh": '#!/bin/sh\ncp -- "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"\n',
    # No shebang's interpreter of this name is in the image: /bin/sh has to do.
    "shout.sh": """#!/bin/bash
tr a-z A-Z < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/${STORAGE_OBJECT_KEY##*/}"
""",
    "fails.sh": """#!/bin/sh
echo half > "$TMP_OUTPUT_DIR/half"
echo the disk of the instrument is upside down
exit 7
""",
    "once.sh": """#!/bin/sh
echo half > "$TMP_OUTPUT_DIR/half.txt"
again() { wget -q -O /dev/null "AGAIN"; }
again || { FIRST; }
rm "$TMP_OUTPUT_DIR/half.txt"
cp -- "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"
""",
}


def fdl(registry: str) -> str:
    def function(
        name: str, script: str, source: str, container: str, more: str = "", *, queue: str = ""
    ) -> str:
        target = {"in": "mid", "mid": "out"}.get(source, f"{source}-out")
        return f"""
    - lambda:
        name: {name}
        init_script: {script}
        timeout: 120
        container:
          {container}
        input: [{{storage_provider: s3, path: {BUCKET}/{source}{queue}}}]
        output: [{{storage_provider: s3, path: {BUCKET}/{target}}}]
        {more}"""

    image = f"image: {registry}/scar/tools:1"
    return "functions:\n  aws:" + "".join(
        (
            function("odd-copy", "copy.sh", "in", image, "once: true"),
            function("odd-shout", "shout.sh", "mid", "image: scar/tools:1"),
            function("odd-fails", "fails.sh", "fails", image),
            function("odd-killed", "killed.sh", "killed", image),
            function("odd-archive", "copy.sh", "archive", "image_file: tools.tar"),
            function("odd-job", "flaky.sh", "job", image, "execution_mode: batch\n        once: true"),
            function("odd-bad-job", "fails.sh", "bad-job", image, "execution_mode: batch"),
            function("odd-waiting", "waiting.sh", "waiting", image, queue=", queue: {max_concurrency: 2}"),
            function(
                "odd-array",
                "copy.sh",
                "array",
                image,
                "execution_mode: batch",
                queue=", queue: {batch_window: 2}",
            ),
        )
    )


@dataclass
class Deployed:
    """The stack under test."""

    cloud: CloudUnderTest
    s3: Any = field(init=False)

    def __post_init__(self) -> None:
        self.s3 = self.cloud.client("s3")

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def keys(self, folder: str) -> dict[str, int]:
        """Keys below a folder, without its marker, and how often each was written."""
        versions = self.s3.list_object_versions(Bucket=BUCKET, Prefix=f"{folder}/").get("Versions", [])
        return dict(Counter(entry["Key"] for entry in versions if not entry["Key"].endswith("/")))

    def logs(self, group: str) -> list[dict[str, Any]]:
        """The structured lines of a log group."""
        pages = self.cloud.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        lines = [event["message"].strip() for page in pages for event in page["events"]]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def summaries(self, group: str) -> list[dict[str, Any]]:
        """The last line of each run."""
        return [line for line in self.logs(group) if line["message"] == "summary"]

    def runs_in_cloudwatch(self, function: str, status: str) -> int:
        """The number of runs, by the metric of their total time."""
        now = datetime.now(UTC)
        answer = self.cloud.client("cloudwatch").get_metric_statistics(
            Namespace="scar-cdk",
            MetricName="total_ms",
            Dimensions=[{"Name": "function", "Value": function}, {"Name": "status", "Value": status}],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["SampleCount"],
        )
        return int(sum(point["SampleCount"] for point in answer["Datapoints"]))

    def failure(self, function: str) -> dict[str, Any]:
        """The message in a function's failure queue, once it is there."""
        url = next(entry["failure_queue_url"] for entry in self.outputs() if entry["name"] == function)
        sqs = self.cloud.client("sqs")

        def receive() -> list[Any]:
            messages: list[Any] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", [])
            return messages

        (message,) = eventually(receive, f"the failure of {function}", 120)
        content = json.loads(message["Body"])
        assert isinstance(content, dict)
        return content

    def queue(self, function: str, which: str) -> tuple[str, str]:
        """URL and ARN of the `input` or the `failure` queue of a function."""
        (url,) = [one[f"{which}_queue_url"] for one in self.outputs() if one["name"] == function]
        answer = self.cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, answer["Attributes"]["QueueArn"]

    def messages(self, url: str) -> int:
        """Number of visible messages in a queue."""
        name = "ApproximateNumberOfMessages"
        answer = self.cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def outputs(self) -> list[dict[str, Any]]:
        (stack,) = self.cloud.client("cloudformation").describe_stacks(StackName="odd")["Stacks"]
        (value,) = [o["OutputValue"] for o in stack["Outputs"] if o["OutputKey"] == "ScarWorkflow"]
        functions = json.loads(value)["functions"]
        assert isinstance(functions, list)
        return functions


def eventually(probe: Callable[[], Found], what: str, seconds: float = 90) -> Found:
    """What `probe` gives, as soon as it gives something."""
    until = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < until, f"{what} did not come within {seconds:g} s"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if REGISTRY_PROGRAM is None:
        pytest.skip("a registry server is needed (Debian: apt install docker-registry)")
    with real_registry(tmp_path_factory.mktemp("registry")) as url:
        yield url


@pytest.fixture(scope="module")
def deployed(
    cloud: CloudUnderTest,
    registry: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Deployed:
    folder = tmp_path_factory.mktemp("odd")
    layer = oci_images.busybox_layer()
    if layer is None:
        pytest.skip("a static busybox is needed (Debian: apt install busybox-static)")
    image = oci_images.Image([layer])
    oci_images.push(registry, "scar/tools", "1", image)
    oci_images.docker_save(folder / "tools.tar", image)
    for name, text in {**SCRIPTS, **once_scripts(cloud)}.items():
        (folder / name).write_text(text)
    file = folder / "odd.yaml"
    file.write_text(fdl(registry.removeprefix("http://")))
    deploy(cloud, folder / "cdk.out", fdl=str(file), registry_mirrors=f"docker.io={registry}")
    cloud.client("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return Deployed(cloud)


def once_scripts(cloud: CloudUnderTest) -> Mapping[str, str]:
    """Scripts that see by a presigned URL whether they are to succeed."""
    s3 = cloud.client("s3")

    def script(name: str, first: str) -> str:
        url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": f"again/{name}"})
        return SCRIPTS["once.sh"].replace("AGAIN", url).replace("FIRST", first)

    return {
        "killed.sh": script("killed", f"exec sleep {SLEEP}"),
        "waiting.sh": script("waiting", "case $INPUT_FILE_PATH in */bad*) exit 7;; *) sleep 0.5;; esac"),
        "flaky.sh": script("job", f"until again; do sleep {SHORT_SLEEP}; done; exit 3"),
    }


ODD_NAMES = ["a b+c.jpg", "100%.txt", "x'\"$(id).txt", "-rf", "new\nline.txt", "&<>;|*?[.txt", "日本.txt"]


def test_files_with_odd_names_go_through_two_functions_of_one_bucket(deployed: Deployed) -> None:
    content = {f"in/{name}": f"this is {name}".encode() for name in ODD_NAMES}
    content["in/ü/ñ.png"] = b"deeper"
    for key, body in content.items():
        deployed.put(key, body)
    expected = {f"out/{key.rpartition('/')[2]}": body for key, body in content.items()}
    eventually(lambda: deployed.keys("out").keys() == expected.keys(), "the copies of odd names", 240)
    for key, body in expected.items():
        found = deployed.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        assert found == bytes(c - 32 if 97 <= c <= 122 else c for c in body)
    assert set(deployed.keys("mid").values()) == {1}
    assert set(deployed.keys("out").values()) == {1}
    for second in deployed.summaries("/aws/lambda/odd-shout"):
        (first,) = (
            one for one in deployed.summaries("/aws/lambda/odd-copy") if second["subject"] in one["outputs"]
        )
        assert (second["trace"], second["parent"]) == (first["trace"], first["span"])


def test_folder_markers_and_empty_objects_start_nothing(deployed: Deployed) -> None:
    deployed.put("archive/marker/", b"")
    deployed.put("archive/empty.txt", b"")
    deployed.put("archive/full.txt", b"full")
    eventually(lambda: deployed.keys("archive-out"), "the file that is not empty", 120)

    def skipped() -> set[str]:
        return {
            line["subject"]
            for line in deployed.logs("/aws/lambda/odd-archive")
            if line["message"] == "skipped"
        }

    eventually(
        lambda: {"s3://odd-files/archive/marker/", "s3://odd-files/archive/empty.txt"} <= skipped(),
        "the log of both",
    )
    assert deployed.keys("archive-out") == {"archive-out/full.txt": 1}


def test_folders_of_the_workflow_are_there_from_the_start(deployed: Deployed) -> None:
    for folder in ("in/", "mid/", "out/", "job/", "job-out/"):
        assert deployed.s3.head_object(Bucket=BUCKET, Key=folder)["ContentLength"] == 0


def test_script_that_always_fails_leaves_its_event_in_the_failure_queue_and_uploads_nothing(
    deployed: Deployed,
) -> None:
    deployed.put("fails/input.txt", b"x")
    message = deployed.failure("odd-fails")
    record = message["requestPayload"]["Records"][0]
    assert record["s3"]["object"]["key"] == "fails/input.txt"
    assert "upside down" in json.dumps(message["responsePayload"])
    summaries = deployed.summaries("/aws/lambda/odd-fails")
    assert [line["exit_code"] for line in summaries] == [7, 7, 7], (
        "Lambda's first attempt and its two retries"
    )
    assert "upside down" in json.dumps(summaries)
    assert deployed.keys("fails-out") == {}


def test_container_that_is_killed_is_run_again_and_its_output_appears_once(deployed: Deployed) -> None:
    deployed.put("killed/input.txt", b"survives")
    victim = eventually(lambda: processes_with_argument(SLEEP), "the container's process", 120)
    deployed.put("again/killed", b"")
    for process in victim:
        os.kill(process, signal.SIGKILL)
    eventually(lambda: deployed.keys("killed-out"), "the output of the second attempt", 120)
    assert deployed.keys("killed-out") == {"killed-out/input.txt": 1}
    statuses = [line["status"] for line in deployed.summaries("/aws/lambda/odd-killed")]
    assert statuses == ["failed", "done"]


def test_batch_job_that_fails_once_is_run_again(deployed: Deployed) -> None:
    deployed.put("job/a b+ü.txt", b"by a job")
    eventually(lambda: processes_with_argument(SHORT_SLEEP), "the first attempt", 120)
    deployed.put("again/job", b"")
    eventually(lambda: deployed.keys("job-out"), "the output of the job's second attempt", 120)
    assert deployed.keys("job-out") == {"job-out/a b+ü.txt": 1}
    (queue,) = [f["job_queue"] for f in deployed.outputs() if f["name"] == "odd-job"]
    batch = deployed.cloud.client("batch")
    (job,) = eventually(
        lambda: batch.list_jobs(jobQueue=queue, jobStatus="SUCCEEDED")["jobSummaryList"], "the job's success"
    )
    (details,) = batch.describe_jobs(jobs=[job["jobId"]])["jobs"]
    assert [attempt["container"]["exitCode"] for attempt in details["attempts"]] == [1, 0]
    summaries = deployed.summaries("/aws/batch/odd-job")
    assert [line["status"] for line in summaries] == ["failed", "done"]


def test_batch_job_that_uses_up_its_attempts_is_kept_in_the_failure_queue(deployed: Deployed) -> None:
    deployed.put("bad-job/input.txt", b"x")
    message = deployed.failure("odd-bad-job")
    assert message["detail"]["status"] == "FAILED"
    variables = {pair["name"]: pair["value"] for pair in message["detail"]["container"]["environment"]}
    assert json.loads(variables["SCAR_EVENT"])["Records"][0]["s3"]["object"]["key"] == "bad-job/input.txt"
    assert deployed.keys("bad-job-out") == {}


def test_an_event_that_is_delivered_twice_writes_its_output_once(deployed: Deployed) -> None:
    deployed.put("again/job", b"")
    lambda_ = deployed.cloud.client("lambda")
    expected = {
        "odd-copy": ("in", "/aws/lambda/odd-copy", "mid"),
        "odd-job": ("job", "/aws/batch/odd-job", "job-out"),
    }
    for function, (folder, _, _) in expected.items():
        deployed.put(f"{folder}/twice.txt", b"twice")  # an event, too
        event = json.dumps(s3_event(BUCKET, f"{folder}/twice.txt"))
        for _ in range(2):
            lambda_.invoke(FunctionName=function, InvocationType="Event", Payload=event)
    for folder, group, target in expected.values():
        subject = f"s3://{BUCKET}/{folder}/twice.txt"

        def statuses(group: str = group, subject: str = subject) -> bool:
            found = [one["status"] for one in deployed.summaries(group) if one["subject"] == subject]
            return sorted(found) == ["done", "done", "duplicate"]

        eventually(statuses, f"the end of three runs of {subject}", 120)
        assert deployed.keys(target)[f"{target}/twice.txt"] == 2


def test_files_of_a_queue_are_processed_two_at_a_time(deployed: Deployed) -> None:
    for number in range(8):
        deployed.put(f"waiting/{number}.txt", b"x")
    eventually(lambda: len(deployed.keys("waiting-out")) == 8, "the output of each file", 120)
    events = [
        (datetime.fromisoformat(line["time"]).timestamp() * 1000 - started, change)
        for line in deployed.summaries("/aws/lambda/odd-waiting")
        for started, change in ((line["total_ms"], 1), (0, -1))
    ]
    running = list(accumulate(change for _moment, change in sorted(events)))
    assert (len(running), max(running)) == (16, 2)


def test_file_that_fails_five_times_is_kept_and_can_be_sent_again_by_sqs(deployed: Deployed) -> None:
    failures, source = deployed.queue("odd-waiting", "failure")
    _, target = deployed.queue("odd-waiting", "input")
    deployed.put("waiting/bad.txt", b"late")
    eventually(lambda: deployed.messages(failures) == 1, "the message in the failure queue", 120)
    ends = [one for one in deployed.summaries("/aws/lambda/odd-waiting") if "bad.txt" in one["subject"]]
    assert [one["exit_code"] for one in ends] == [7] * 5
    deployed.put("again/waiting", b"")
    deployed.cloud.client("sqs").start_message_move_task(SourceArn=source, DestinationArn=target)
    eventually(lambda: "waiting-out/bad.txt" in deployed.keys("waiting-out"), "the output", 120)
    assert deployed.messages(failures) == 0
    ends = deployed.summaries("/aws/lambda/odd-waiting")
    assert max(one["attempt"] for one in ends) == 5
    counts = Counter(one["status"] for one in ends)
    assert {status: deployed.runs_in_cloudwatch("odd-waiting", status) for status in counts} == counts


def test_files_of_a_queue_become_a_handful_of_array_jobs(deployed: Deployed) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: deployed.put(f"array/{number}.txt", b"x"), range(12)))
    eventually(lambda: len(deployed.keys("array-out")) == 12, "the output of each file", 240)
    assert set(deployed.keys("array-out").values()) == {1}
    (queue,) = [one["job_queue"] for one in deployed.outputs() if one["name"] == "odd-array"]
    named = [{"name": "JOB_NAME", "values": ["odd-array*"]}]
    jobs = deployed.cloud.client("batch").list_jobs(jobQueue=queue, filters=named)["jobSummaryList"]
    assert sum(job.get("arrayProperties", {}).get("size", 1) for job in jobs) == 12
    assert len(jobs) <= 4


def processes_with_argument(argument: str) -> list[int]:
    """Process ids of those that were started with exactly this argument."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                arguments = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # ended meanwhile
            if argument.encode() in arguments:
                found.append(int(folder.name))
    return found
