"""Many uploads in a minute, at AWS's limits, to a function in `batch` mode with a queue.

Real: S3, its notifications, SQS, the event source mapping and the handler, on the embedded cloud. The proxy
accepts 50 SubmitJob calls a second and answers them itself, so no job runs: what the jobs would process is
read from the objects that the handler stored. If the machine takes longer than a minute for the uploads, the
limit is lowered in proportion.

For comparison, the same uploads without a queue are simulated (`benchmarks.batch_launch.one_by_one`).
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.batch_launch import one_by_one
from fdl_schemas.prices.table import load
from local_cloud.cloud import Running
from tests.chaos.workload import Workload
from tests.faults.injected.cloud import BEHIND, behind_proxy
from tests.faults.injected.limits import Limits
from tests.faults.injected.proxy import Request, http_response

_STACK, _BUCKET = "uploads", "many-uploads"
_FDL = f"""functions:
  aws:
  - lambda:
      name: uploads-batch
      execution_mode: batch
      init_script: copy.sh
      container: {{image_file: busybox.tar}}
      input: [{{storage_provider: s3, path: {_BUCKET}/in, queue: {{}}}}]
      output: [{{storage_provider: s3, path: {_BUCKET}/out}}]
"""
_NO_PROGRESS_FOR_S = 90.0
_UPLOADERS = 2
_SECONDS = 60
_MEMORY_GB = 0.5
"""Default of a function."""


@dataclass
class AcceptedJobs:
    """AWS Batch, which accepts every job and runs none."""

    jobs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def files(self) -> int:
        """For how many files there is a job."""
        return sum(job.get("arrayProperties", {}).get("size", 1) for job in self.jobs)

    def answer(self, _request: Request, body: bytes) -> bytes:
        """The response to SubmitJob."""
        self.jobs.append(json.loads(body))
        job = f"00000000-0000-0000-0000-{len(self.jobs):012d}"
        told = {
            "jobId": job,
            "jobName": self.jobs[-1]["jobName"],
            "jobArn": f"arn:aws:batch:us-east-1:000000000000:job/{job}",
        }
        return http_response(200, json.dumps(told).encode(), "application/json")


def upload_many(folder: Path, files: int, seed: int, slower: float) -> int:
    """Upload so many files: how many have no job or several, or are in the failure queue."""
    accepted = AcceptedJobs()
    with behind_proxy(folder / "uploads-cloud", seed) as (cloud, proxy):
        workload = Workload(cloud, folder, _STACK, _BUCKET)
        running = workload.start()
        workload.client("s3").create_bucket(Bucket=_BUCKET)
        workload.deploy(_FDL)
        proxy.limits = Limits(slower)
        proxy.answers["batch submitjob"] = accepted.answer
        started = time.monotonic()
        names = [f"in/file-{number:06}.txt" for number in range(files)]
        threads = [
            threading.Thread(target=_upload, args=(running, names[number::_UPLOADERS]))
            for number in range(_UPLOADERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        uploaded_s = time.monotonic() - started
        last, since = -1, time.monotonic()
        while accepted.files < files and time.monotonic() - since < _NO_PROGRESS_FOR_S:
            time.sleep(0.5)
            if accepted.files != last:
                last, since = accepted.files, time.monotonic()
        seconds = time.monotonic() - started
        found = _files_of(workload, accepted.jobs)
        failed, throttled = workload.failed(), proxy.actions["batch submitjob"] - len(accepted.jobs)
    wrong = [name for name in names if found[name] != 1]
    print(
        f"{files} uploads in {uploaded_s:.0f} s, the limit of SubmitJob lowered {slower:g} times:\n"
        f"  all have a job after {seconds:.0f} s: {len(accepted.jobs)} calls of SubmitJob, {throttled} more "
        f"above the limit, {failed} events in the failure queue, {len(wrong)} files not in exactly one job",
        flush=True,
    )
    print(f"  {without_a_queue(files)}", flush=True)
    return len(wrong) + failed + (len(accepted.jobs) + throttled >= 100)


def without_a_queue(files: int) -> str:
    """What as many uploads in a minute would do without a queue, simulated."""
    launch = one_by_one(files, files / _SECONDS)
    prices = load().of("us-east-1")
    assert prices is not None
    usd = launch.billed_s * _MEMORY_GB * prices.usd("lambda_x86_gb_s")
    return (
        f"without a queue (simulated): {launch.calls:,} calls of SubmitJob, {launch.throttled:,} of these "
        f"rejected; {launch.jobs:,} files with a job, {files - launch.jobs:,} events in the failure queue; "
        f"{launch.billed_s:,.0f} billed seconds of Lambda, {usd:.2f} USD with 512 MB"
    )


def _upload(running: Running, names: list[str]) -> None:
    """Upload empty files as fast as possible, past the proxy: boto3 takes longer than the emulator."""
    keys = running.credentials
    signer = S3SigV4Auth(Credentials(keys.access_key_id, keys.secret_access_key), "s3", running.region)
    connection = http.client.HTTPConnection(BEHIND, running.port)
    for name in names:
        request = AWSRequest("PUT", f"{running.endpoint}/{_BUCKET}/{name}", data=b"x")
        request.context["payload_signing_enabled"] = False
        signer.add_auth(request)
        headers = {"Host": f"127.0.0.1:{running.port}", **dict(request.headers.items())}
        connection.request("PUT", f"/{_BUCKET}/{name}", b"x", headers)
        with connection.getresponse() as response:
            response.read()
            if response.status != http.HTTPStatus.OK:
                raise RuntimeError(f"PUT {name}: {response.status}")


def _files_of(workload: Workload, jobs: list[dict[str, Any]]) -> Counter[str]:
    """How many jobs there are for each file, by the events that are stored for them."""
    found: Counter[str] = Counter()
    for job in jobs:
        variables = {one["name"]: one["value"] for one in job["containerOverrides"]["environment"]}
        text = variables.get("SCAR_EVENT", "")
        if uri := variables.get("SCAR_EVENTS_URI"):
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            text = workload.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
        found.update(re.findall(r'"key": ?"(in/file-\d{6}\.txt)"', text))
    return found
