"""Submits the events of a launch to AWS Batch as array jobs: one call for up to 10 000 files.

Batch accepts 50 calls of SubmitJob a second in an account. The events of an array are the lines of one object
in the bucket for events, of the same width, so that each job reads only its own (`runtime/delegation.py`).

An array is submitted once, whatever is interrupted: its events are stored first, then the journal records
them, then the job is submitted under a name that is its own. If it is unknown whether that succeeded, because
the launch was killed or the response was lost, Batch is asked for a job of that name.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.aws.session import client, error_code, explain, explained, is_passing, is_throttled
from scar_cli.errors import UserError
from scar_cli.launch.fan_out import words_of
from scar_cli.launch.files import InputFile, event_bytes
from scar_cli.launch.journal import Array, Journal
from scar_cli.launch.pace import Patience

if TYPE_CHECKING:
    from scar_cli.launch.budget import Budget

MOST_JOBS = 10_000
"""Maximum size of an array job."""
_PER_ARRAY_S = 60
"""Seconds for which the events of one array last if the rate is limited."""
_VISIBLE_AFTER_S = 5.0
"""A job may appear in the list of jobs this long after it was submitted."""


class ArrayLaunch:
    """One launch of a function in `batch` mode."""

    def __init__(
        self,
        deployed: DeployedFunction,
        journal: Journal,
        *,
        s3: Any,
        rate: float | None = None,
        budget: Budget | None = None,
        patience: Patience | None = None,
    ) -> None:
        """`rate` is the maximum number of events per second; `s3` is the client of the plan."""
        self._budget = budget
        self.sent = 0
        self.jobs: list[str] = []
        """Ids of the submitted jobs."""
        self.trouble = ""
        """The latest error, in words; empty once a job is submitted."""
        self._deployed = deployed
        self._journal = journal
        self._launch_id = str(journal.record.head["launch"])
        self._s3 = s3
        self._rate = rate
        self._patience = patience or Patience()
        self._most = MOST_JOBS if rate is None else max(1, min(MOST_JOBS, int(rate * _PER_ARRAY_S)))
        # Batch offers no token that makes SubmitJob safe to repeat: botocore must not repeat it.
        self._batch = client(
            "batch",
            region=deployed.region,
            read_timeout=self._patience.answer_s,
            retries={"mode": "standard", "total_max_attempts": 1},
        )

    def run(self, files: Iterator[InputFile], look: Callable[[ArrayLaunch], None]) -> None:
        """Submit everything; `look` is called before and after each job, and while Batch is not reachable.

        Raises:
            UserError: it ended early. The journal records what was submitted.
        """
        if (array := self._journal.record.array) is not None:
            self._submit(array, look, perhaps_submitted=True)
        for source, of_source in groupby(files, key=lambda file: file.source):
            while some := self._some(of_source):
                started = time.monotonic()
                look(self)
                self._submit(self._store(source, some), look)
                if self._rate is not None:
                    time.sleep(max(0.0, started + len(some) / self._rate - time.monotonic()))
        look(self)

    def _some(self, files: Iterator[InputFile]) -> list[InputFile]:
        """The files of the next array.

        Raises:
            UserError: none, because of their cost.
        """
        some = list(islice(files, 1))
        if some and self._budget is not None:
            room = self._budget.may_send(self._journal.record.accepted, self._most, threading.Event())
            return [*some, *islice(files, room - 1)]
        return [*some, *islice(files, self._most - 1)] if some else []

    def _store(self, source: int, files: list[InputFile]) -> Array:
        """Write the events to S3, then to the journal."""
        lines = [event_bytes(file, self._deployed.region, self._launch_id) for file in files]
        width = max(map(len, lines)) + 1
        first = self._journal.record.numbered
        key = f"launches/{self._launch_id}-{first}.jsonl"
        with explained():
            self._s3.put_object(
                Bucket=self._deployed.event_bucket,
                Key=key,
                Body=b"".join(line.ljust(width - 1) + b"\n" for line in lines),
            )
        uri = f"s3://{self._deployed.event_bucket}/{key}"
        return self._journal.submitting(source, [file.key for file in files], uri, width)

    def _submit(
        self, array: Array, look: Callable[[ArrayLaunch], None], *, perhaps_submitted: bool = False
    ) -> None:
        """Submit a job until it is accepted."""
        name = re.sub(r"[^A-Za-z0-9_-]", "-", f"{self._deployed.name}-{self._launch_id}-{array.first}")
        since, attempts = time.monotonic(), 0
        while True:
            try:
                job_id = self._submitted(name) if perhaps_submitted else None
                job_id = job_id or str(self._batch.submit_job(**self._request(array, name))["jobId"])
                break
            except Exception as error:
                if not is_passing(error):
                    raise explain(error) or error from error
                perhaps_submitted = perhaps_submitted or not is_throttled(error)
                self.trouble = error_code(error) or words_of(error)
            look(self)
            if time.monotonic() - since >= self._patience.give_up_s:
                raise UserError(
                    f"Batch has not accepted a job for {self._patience.give_up_s / 60:.0f} minutes. "
                    f"Last error: {self.trouble}",
                    "Check the network connection",
                    exit_code=1,
                )
            attempts += 1
            pause = self._patience.pause(attempts)
            time.sleep(max(pause, _VISIBLE_AFTER_S) if perhaps_submitted else pause)
        self._journal.submitted(array, job_id)
        self.trouble = ""
        self.sent += array.count
        self.jobs.append(job_id)

    def _request(self, array: Array, name: str) -> dict[str, Any]:
        variables = {"SCAR_EVENTS_URI": array.uri, "SCAR_EVENTS_WIDTH": str(array.width)}
        size: dict[str, Any] = {"arrayProperties": {"size": array.count}}
        if array.count == 1:  # not a size of arrays
            variables["SCAR_EVENTS_INDEX"], size = "0", {}
        environment = [{"name": key, "value": value} for key, value in variables.items()]
        return {
            "jobName": name,
            "jobQueue": self._deployed.job_queue,
            "jobDefinition": self._deployed.job_definition,
            "containerOverrides": {"environment": environment},
            **size,
        }

    def _submitted(self, name: str) -> str | None:
        """The id of the job of that name, if it was submitted. Jobs are listed for 7 days after their end."""
        named = [{"name": "JOB_NAME", "values": [name]}]
        found = self._batch.list_jobs(jobQueue=self._deployed.job_queue, filters=named)["jobSummaryList"]
        return str(found[0]["jobId"]) if found else None
