"""The stack that works while the cloud is stopped and killed, and what has become of its files.

    in ─► chaos-first (Lambda) ─► a ─► chaos-middle (Batch) ─► b ─► chaos-last (Lambda) ─► out
    jobs ─► chaos-jobs (Batch) ─► jobs-out

The container is a static busybox, so that a run takes as little time as possible.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.cloud import Cloud, Running
from tests import oci_images
from tests.cloud.cdk_cli import Cdk
from tests.cloud.embedded import CloudUnderTest

BUCKET = "chaos-files"
_STACK = "chaos"
_FUNCTIONS = (
    ("chaos-first", "in", "a", "lambda"),
    ("chaos-middle", "a", "b", "batch"),
    ("chaos-last", "b", "out", "lambda"),
    ("chaos-jobs", "jobs", "jobs-out", "batch"),
)
_SCRIPT = '#!/bin/sh\necho "$STORAGE_OBJECT_KEY"\ncp -- "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"\n'
_UNREACHABLE = (BotoCoreError, ClientError, OSError)


class Workload:
    """The deployed stack in a cloud that comes and goes."""

    def __init__(self, folder: Path) -> None:
        self.cloud = Cloud(folder / "cloud")
        self._folder = folder
        self._running: Running | None = None

    def start(self) -> Running:
        """Start the cloud, or start it again."""
        self._running = self.cloud.start()
        return self._running

    def client(self, service: str) -> Any:
        """A client of the cloud as it runs now."""
        assert self._running is not None
        return CloudUnderTest(self.cloud, self._running).client(service)

    def environment(self) -> dict[str, str]:
        """Of a program that is to talk to the cloud as it runs now."""
        assert self._running is not None
        return CloudUnderTest(self.cloud, self._running).environment()

    def deploy(self) -> None:
        """Deploy the four functions.

        Raises:
            RuntimeError: there is no static busybox to make an image of.
        """
        layer = oci_images.busybox_layer()
        if layer is None:
            raise RuntimeError("A static busybox is needed (Debian: apt install busybox-static)")
        oci_images.docker_save(self._folder / "busybox.tar", oci_images.Image([layer]))
        (self._folder / "copy.sh").write_text(_SCRIPT)
        fdl = self._folder / f"{_STACK}.yaml"
        fdl.write_text("functions:\n  aws:" + "".join(_function(*entry) for entry in _FUNCTIONS))
        Cdk(self.environment(), self._folder / "cdk.out")("deploy", fdl)

    def upload(self, keys: Iterable[str]) -> None:
        """Upload a file for each key; one that is not answered is sent again until it is."""
        for key in keys:
            while True:
                try:
                    self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=key.encode())
                except _UNREACHABLE:
                    time.sleep(0.1)
                else:
                    break

    def uploading(self, keys: Iterable[str]) -> threading.Thread:
        """Upload in a thread of its own."""
        thread = threading.Thread(target=self.upload, args=(list(keys),), daemon=True)
        thread.start()
        return thread

    def names(self, folder: str) -> set[str]:
        """Names of the files in a folder."""
        pages = (
            self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{folder}/")
        )
        keys = {entry["Key"].rpartition("/")[2] for page in pages for entry in page.get("Contents", [])}
        return keys - {""}

    def given_up(self, pattern: str) -> set[str]:
        """Names of the files whose events are in a failure queue."""
        sqs = self.client("sqs")
        found: set[str] = set()
        for url in self._failure_queues():
            while messages := sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=3600
            ).get("Messages"):
                for message in messages:
                    found.update(re.findall(pattern, message["Body"]))
        return found

    def log_lines(self) -> Counter[tuple[str, str]]:
        """Every line in the functions' and jobs' log groups."""
        logs = self.client("logs")
        groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
        return Counter(
            (event["logStreamName"], event["message"])
            for group in groups
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            for event in page["events"]
        )

    def unfinished_jobs(self) -> int:
        """Jobs that have neither succeeded nor failed."""
        batch = self.client("batch")
        queues = [queue["jobQueueArn"] for queue in batch.describe_job_queues()["jobQueues"]]
        return sum(
            len(batch.list_jobs(jobQueue=queue, jobStatus=state)["jobSummaryList"])
            for queue in queues
            for state in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
        )

    def _failure_queues(self) -> list[str]:
        (stack,) = self.client("cloudformation").describe_stacks(StackName=_STACK)["Stacks"]
        (value,) = [o["OutputValue"] for o in stack["Outputs"] if o["OutputKey"] == "ScarWorkflow"]
        return [function["failure_queue_url"] for function in json.loads(value)["functions"]]


def _function(name: str, source: str, target: str, mode: str) -> str:
    return f"""
    - lambda:
        name: {name}
        init_script: copy.sh
        execution_mode: {mode}
        timeout: 120
        container: {{image_file: busybox.tar}}
        input: [{{storage_provider: s3, path: {BUCKET}/{source}}}]
        output: [{{storage_provider: s3, path: {BUCKET}/{target}}}]"""
