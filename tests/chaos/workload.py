"""A stack that works while faults are injected, and what has become of its files.

Its bucket is versioned: each version of a file is one write. The container is a static busybox, so that a run
takes as little time as possible.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_cloud.cloud import Cloud, Running
from scar_cli.aws.failure_queues import event_of, stored_event, subject_of
from tests import oci_images
from tests.cloud.deployments import deploy
from tests.cloud.embedded import CloudUnderTest
from tests.faults.injected.cloud import spared_client

UNREACHABLE = (BotoCoreError, ClientError, OSError)
_SCRIPT = '#!/bin/sh\necho "$STORAGE_OBJECT_KEY"\ncp -- "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"\n'


class Workload:
    """The deployed stack in a cloud that is killed and started again."""

    def __init__(self, cloud: Cloud, folder: Path, stack: str, bucket: str) -> None:
        self.cloud = cloud
        self.bucket = bucket
        self.fdl = folder / f"{stack}.yaml"
        self._stack = stack
        self._folder = folder
        self._running: Running | None = None
        self._clients: dict[tuple[str, int], Any] = {}

    def start(self) -> Running:
        """Start the cloud, or start it again."""
        self._running = self.cloud.start()
        return self._running

    @property
    def running(self) -> Running:
        """The cloud as it was started last."""
        assert self._running is not None
        return self._running

    def client(self, service: str) -> Any:
        """A client whose requests are spared from faults; of this thread."""
        key = (service, threading.get_ident())
        if key not in self._clients:
            self._clients[key] = spared_client(self.running, service)
        return self._clients[key]

    def environment(self) -> dict[str, str]:
        """Of a program that is to talk to the cloud."""
        return CloudUnderTest(self.cloud, self.running).environment()

    def deploy(self, fdl: str) -> None:
        """Deploy an FDL file whose functions use `copy.sh`, `busybox.tar` and the bucket, which exists.

        Raises:
            RuntimeError: there is no static busybox to make an image of.
        """
        layer = oci_images.busybox_layer()
        if layer is None:
            raise RuntimeError("A static busybox is needed (Debian: apt install busybox-static)")
        oci_images.docker_save(self._folder / "busybox.tar", oci_images.Image([layer]))
        (self._folder / "copy.sh").write_text(_SCRIPT)
        self.fdl.write_text(fdl)
        output = self._folder / f"{self._stack}.out"
        deploy(
            CloudUnderTest(self.cloud, self.running), output, fdl=str(self.fdl), existing_buckets=self.bucket
        )

    def upload(self, keys: Iterable[str]) -> None:
        """Upload a file for each key, exactly once, even if an answer is lost."""
        for key in keys:
            while True:
                try:
                    self.client("s3").put_object(
                        Bucket=self.bucket, Key=key, Body=key.encode(), IfNoneMatch="*"
                    )
                except ClientError as error:
                    if error.response["Error"]["Code"] == "PreconditionFailed":
                        break
                    time.sleep(0.1)
                except UNREACHABLE:
                    time.sleep(0.1)
                else:
                    break

    def versions(self, folder: str) -> Counter[str]:
        """How often each file of a folder was written, by the rest of its key."""
        pages = (
            self.client("s3")
            .get_paginator("list_object_versions")
            .paginate(Bucket=self.bucket, Prefix=f"{folder}/")
        )
        found = Counter(
            version["Key"].removeprefix(f"{folder}/")
            for page in pages
            for version in page.get("Versions", [])
        )
        del found[""]
        return found

    def names(self, folder: str) -> set[str]:
        """Names of the files that a folder contains now."""
        pages = (
            self.client("s3")
            .get_paginator("list_objects_v2")
            .paginate(Bucket=self.bucket, Prefix=f"{folder}/")
        )
        keys = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
        return {key.removeprefix(f"{folder}/") for key in keys} - {""}

    def failed(self) -> int:
        """Messages in the failure queues."""
        sqs = self.client("sqs")
        name = "ApproximateNumberOfMessages"
        return sum(
            int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])
            for url in self._failure_queues().values()
        )

    def given_up(self) -> set[str]:
        """Names of the files whose events are in a failure queue; the messages are hidden for an hour.

        Raises:
            UnreadableMessageError: a message does not lead to its event, so the event is lost.
        """
        return set().union(*self.given_up_by_function().values())

    def given_up_by_function(self) -> dict[str, Counter[str]]:
        """How often each file is in the failure queue of each function; as `given_up`.

        Raises:
            UnreadableMessageError: a message does not lead to its event, so the event is lost.
        """
        sqs, fetch = self.client("sqs"), partial(stored_event, self.client("s3"))
        found: dict[str, Counter[str]] = {}
        for function, url in self._failure_queues().items():
            files = found[function] = Counter()
            while messages := sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=3600
            ).get("Messages"):
                events = [event_of(message["Body"], fetch) for message in messages]
                files.update(subject_of(event).rpartition("/")[2] for event in events)
        return found

    def log_lines(self) -> Counter[tuple[str, str]]:
        """Every line that functions and jobs have written. (The platform's lines about an invocation are
        those of its last attempt.)"""
        logs = self.client("logs")
        groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
        return Counter(
            (event["logStreamName"], event["message"])
            for group in groups
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group)
            for event in page["events"]
            if not event["message"].startswith(("START RequestId", "END RequestId", "REPORT RequestId"))
        )

    def until_idle(self) -> None:
        """Wait until no event waits, and no job is unfinished. Each is stored before what caused it ends."""
        while self.events() or self._unfinished_jobs() or self.events():
            time.sleep(0.5)

    def events(self) -> int:
        """Events of Lambda functions that have not been processed."""
        with closing(sqlite3.connect(self.cloud.state / "state.db")) as store:
            (count,) = store.execute("SELECT count(*) FROM item WHERE kind = 'event'").fetchone()
        return int(count)

    def _unfinished_jobs(self) -> int:
        batch = self.client("batch")
        queues = [queue["jobQueueArn"] for queue in batch.describe_job_queues()["jobQueues"]]
        return sum(
            len(batch.list_jobs(jobQueue=queue, jobStatus=state)["jobSummaryList"])
            for queue in queues
            for state in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
        )

    def _failure_queues(self) -> dict[str, str]:
        """URLs, by the names of functions."""
        (stack,) = self.client("cloudformation").describe_stacks(StackName=self._stack)["Stacks"]
        (value,) = [o["OutputValue"] for o in stack["Outputs"] if o["OutputKey"] == "ScarWorkflow"]
        return {one["name"]: one["failure_queue_url"] for one in json.loads(value)["functions"]}
