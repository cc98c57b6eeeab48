"""Jobs with `once` that are killed at one moment of their lives, and what other deliveries do then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runtime.storage import s3_upload
from tests.unit.runtime.conftest import BatchApi, Function
from tests.unit.runtime.event_shapes import s3_event
from tests.unit.runtime.test_once import deliver, keep_versions, make_claims, versions

ROOT = Path(__file__).parents[3]
BATCH: dict[str, Any] = {
    "execution_mode": "lambda-batch",
    "batch": {"timeout_s": 600, "attempts": 2},
    "once": True,
}
SCRIPT = """#!/bin/sh
sleep 0.3
echo $REQUEST_ID > "$TMP_OUTPUT_DIR/a"
echo $REQUEST_ID > "$TMP_OUTPUT_DIR/b"
printf '%06000000d' 0 > "$TMP_OUTPUT_DIR/large"
"""
RUNNER = """
import os, signal, sys, threading
from runtime import batch_job, job, once
from runtime.storage import s3_upload

s3_upload.LARGE_BYTES = 5_000_000
once.SILENT_S, once.BEAT_S, once._LOOK_S = 1.0, 0.1, 0.02
uploader, taking = s3_upload.S3Uploader, threading.Lock()

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def before(place, name):
    setattr(place, name, die)

def after(place, name):
    def then_die(*arguments):
        with taking:
            done(*arguments)
            die()
    done = getattr(place, name)
    setattr(place, name, then_die)

match sys.argv[1:]:
    case ["before the claim"]: before(once.Claim, "take")
    case ["after the claim"]: after(once.Claim, "take")
    case ["during the run"]:
        run = job._Job._run
        def dying_run(*arguments):
            threading.Timer(0.1, die).start()
            return run(*arguments)
        job._Job._run = dying_run
    case ["before the uploads"]: after(once.Claim, "confirm")
    case ["after a large file"]: after(uploader, "_finish")
    case ["after a small file"]: after(uploader, "_put")
    case ["after the uploads"]: before(once.Claim, "__exit__")
    case ["after the claim is done"]: after(once.Claim, "__exit__")
sys.exit(batch_job.main())
"""
MOMENTS = (
    "before the claim",
    "after the claim",
    "during the run",
    "before the uploads",
    "after a large file",
    "after a small file",
    "after the uploads",
    "after the claim is done",
)


@pytest.fixture
def deployed(function: Function, monkeypatch: pytest.MonkeyPatch) -> Function:
    make_claims(monkeypatch)
    monkeypatch.setattr(s3_upload, "LARGE_BYTES", 5_000_000)
    keep_versions(function.bucket)
    function.deploy(SCRIPT, **BATCH)
    function.bucket.put("in/x")
    return function


def start(function: Function, job_id: str, moment: str = "never") -> subprocess.Popen[str]:
    """A job that is killed at a moment of its life."""
    environment = {
        **os.environ,
        "AWS_BATCH_JOB_ID": job_id,
        "PYTHONPATH": str(ROOT),
        "SCAR_EVENT": json.dumps(s3_event(function.bucket.name, "in/x")),
    }
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, moment],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def status_of(process: subprocess.Popen[str]) -> str:
    """The status in its summary."""
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"scar": 1, ')]
    (summary,) = (line for line in lines if line["message"] == "summary")
    return str(summary["status"])


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_is_killed_is_completed_and_no_output_is_written_twice(
    moment: str, deployed: Function
) -> None:
    killed = start(deployed, "job-1", moment)
    output, _ = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, output
    done = "duplicate" if moment == "after the claim is done" else "done"
    assert deliver(deployed, s3_event(deployed.bucket.name, "in/x"), "r1") == done
    assert versions(deployed.bucket) == {"a": 1, "b": 1, "large": 1}


def test_the_second_attempt_of_a_job_does_not_wait(deployed: Function) -> None:
    start(deployed, "job-1", "during the run").communicate(timeout=60)
    assert status_of(start(deployed, "job-1")) == "done"
    assert versions(deployed.bucket) == {"a": 1, "b": 1, "large": 1}


def test_two_jobs_for_the_same_event_run_once(deployed: Function) -> None:
    deployed.deploy(SCRIPT.replace("0.3", "1"), **BATCH)
    jobs = [start(deployed, job) for job in ("job-1", "job-2")]
    assert sorted(map(status_of, jobs)) == ["done", "duplicate"]
    assert versions(deployed.bucket) == {"a": 1, "b": 1, "large": 1}


def test_a_job_that_is_terminated_frees_its_input(deployed: Function) -> None:
    deployed.deploy("#!/bin/sh\necho running\nsleep 60\n", **BATCH)
    terminated = start(deployed, "job-1")
    assert terminated.stdout is not None
    assert any(line == "running\n" for line in terminated.stdout)
    terminated.terminate()
    output, _ = terminated.communicate(timeout=60)
    assert terminated.returncode == 1, output
    deployed.deploy(SCRIPT, **BATCH)
    assert status_of(start(deployed, "job-2")) == "done"


def test_what_lambda_hands_over_to_batch_is_free_for_the_job(deployed: Function, batch_api: BatchApi) -> None:
    deployed.deploy("#!/bin/sh\nsleep 60\n", **BATCH)
    event = s3_event(deployed.bucket.name, "in/x")
    assert deliver(deployed, event, "r1", remaining_ms=5800) == "delegated"
    deployed.deploy(SCRIPT, **BATCH)
    started = time.monotonic()
    assert status_of(start(deployed, "job-1")) == "done"
    assert time.monotonic() - started < 10
    assert deliver(deployed, event, "r2") == "duplicate"
    assert versions(deployed.bucket) == {"a": 1, "b": 1, "large": 1}
