"""Batch jobs run in the image of their job definition."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local_cloud.cloud import Cloud
from tests.cloud.ecr_images import Pushed, push, shell_image
from tests.cloud.embedded import CloudUnderTest, finished, log_of, make_queue, until
from tests.oci_images import File, directory, write_layout


@pytest.fixture(scope="module")
def image(cloud: CloudUnderTest) -> Pushed:
    return push(
        cloud,
        shell_image(
            File("say", b'#!/bin/sh\necho "told:" "$@"\n', 0o755),
            directory("work", 0o777),
            Entrypoint=["/bin/sh", "-c"],
            Cmd=["echo the image"],
            User="worker",
            WorkingDir="/work",
        ),
    )


def run(cloud: CloudUnderTest, image: str, command: list[str] | None, **container: Any) -> Any:
    batch = cloud.client("batch")
    settings = {"image": image, **container}
    queue, definition = make_queue(cloud, command or [], containerProperties=settings)
    job = batch.submit_job(jobName="in-an-image", jobQueue=queue, jobDefinition=definition)
    return finished(cloud, job["jobId"])


def test_a_job_has_the_images_user_folder_environment_and_entry_point(
    cloud: CloudUnderTest, image: Pushed
) -> None:
    told = "id; pwd; echo $OF_THE_IMAGE $GIVEN $AWS_REGION $AWS_BATCH_JOB_ATTEMPT; echo x > here; ls; ls /"
    job = run(cloud, image.uri, [told])
    lines = log_of(cloud, job)
    assert job["status"] == "SUCCEEDED"
    assert lines[0] == "uid=1234(worker) gid=4321(workers) groups=5555(extra)"
    assert lines[1:4] == ["/work", "yes by the definition us-east-1 1", "here"]
    assert "home" not in lines[4:] and "say" in lines[4:]


def test_without_a_command_the_images_own_runs(cloud: CloudUnderTest, image: Pushed) -> None:
    assert log_of(cloud, run(cloud, image.uri, None)) == ["the image"]


def test_each_attempt_has_a_fresh_writable_root(cloud: CloudUnderTest, image: Pushed) -> None:
    for _ in range(2):
        job = run(cloud, image.by_digest, ["[ ! -e /left ] && echo x > /left && echo fresh"], user="root")
        assert log_of(cloud, job) == ["fresh"]


def test_a_read_only_root_can_be_asked_for(cloud: CloudUnderTest, image: Pushed) -> None:
    write = ["echo x > /left && echo written"]
    job = run(cloud, image.uri, write, user="root", readonlyRootFilesystem=True)
    assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 1)
    assert "Read-only file system" in log_of(cloud, job)[0]
    job = run(cloud, image.uri, write, user="root", readonlyRootFilesystem=False)
    assert log_of(cloud, job) == ["written"]


def test_environment_of_the_host_stays_outside(cloud: CloudUnderTest, image: Pushed) -> None:
    lines = log_of(cloud, run(cloud, image.uri, ["env"]))
    names = {line.partition("=")[0] for line in lines}
    assert names - {"GIVEN"} <= {
        *("PATH", "HOME", "OF_THE_IMAGE", "PWD", "SHLVL", "AWS_ENDPOINT_URL", "AWS_REGION"),
        "AWS_DEFAULT_REGION",
        *("AWS_BATCH_JOB_ID", "AWS_BATCH_JOB_ATTEMPT", "AWS_BATCH_JQ_NAME", "AWS_BATCH_CE_NAME"),
    }


@pytest.mark.parametrize(("ending", "code"), [("exit 3", 3), ("kill -9 $$", 137)])
def test_exit_codes_and_signals(cloud: CloudUnderTest, image: Pushed, ending: str, code: int) -> None:
    job = run(cloud, image.uri, [ending])
    assert (job["status"], job["container"]["exitCode"]) == ("FAILED", code)


def test_limits_of_the_definition_hold(cloud: CloudUnderTest, image: Pushed) -> None:
    limits = [{"name": "nofile", "softLimit": 77, "hardLimit": 99}]
    job = run(cloud, image.uri, ["ulimit -n; ulimit -H -n"], ulimits=limits)
    assert log_of(cloud, job) == ["77", "99"]


def test_a_job_that_is_terminated_gets_a_signal_first(cloud: CloudUnderTest, image: Pushed) -> None:
    batch = cloud.client("batch")
    text = "trap 'echo ends in order; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    queue, definition = make_queue(cloud, [text], containerProperties={"image": image.uri})
    job_id = batch.submit_job(jobName="stops", jobQueue=queue, jobDefinition=definition)["jobId"]

    def ready() -> bool:
        job = batch.describe_jobs(jobs=[job_id])["jobs"][0]
        return job["status"] == "RUNNING" and log_of(cloud, job) == ["ready"]

    until(ready)
    batch.terminate_job(jobId=job_id, reason="enough")
    job = finished(cloud, job_id)
    assert job["statusReason"] == "enough"
    assert log_of(cloud, job)[-1] == "ends in order"


def test_time_that_is_up_ends_all_processes(cloud: CloudUnderTest, image: Pushed) -> None:
    batch, number = cloud.client("batch"), 200_000 + os.getpid()
    queue, definition = make_queue(
        cloud,
        [f"setsid sleep {number} & sleep {number}"],
        containerProperties={"image": image.uri},
        timeout={"attemptDurationSeconds": 60},
    )
    job_id = batch.submit_job(
        jobName="slow", jobQueue=queue, jobDefinition=definition, timeout={"attemptDurationSeconds": 1}
    )["jobId"]
    assert finished(cloud, job_id)["statusReason"] == "Job attempt duration exceeded timeout"
    listed = subprocess.run(["ps", "-A", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert f"sleep {number}" not in listed.splitlines()


def test_an_image_that_is_not_available_fails_the_job(cloud: CloudUnderTest, image: Pushed) -> None:
    missing = f"{image.uri.rpartition(':')[0]}:missing"
    job = run(cloud, missing, ["true"])
    assert job["status"] == "FAILED"
    assert job["statusReason"] == "Task failed to start"
    assert job["container"]["reason"].startswith("CannotPullContainerError: ")
    assert missing in job["container"]["reason"]
    assert "exitCode" not in job["container"]


def test_a_command_that_is_missing_fails_the_job(cloud: CloudUnderTest) -> None:
    bare = push(cloud, shell_image(Entrypoint=[]))
    job = run(cloud, bare.uri, ["/no/such"])
    reason = job["container"]["reason"]
    assert reason.startswith("CannotStartContainerError: ") and "cannot start '/no/such'" in reason


def test_images_of_other_registries_come_from_mirrors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = shell_image(Entrypoint=["/bin/sh", "-c"])
    write_layout(tmp_path / "mirror" / "team" / "tools", {"1": image})
    monkeypatch.setenv("SCAR_REGISTRY_MIRRORS", f"registry.example=file://{tmp_path}/mirror")
    monkeypatch.setenv("SCAR_STORE", str(tmp_path / "store"))
    embedded = Cloud(tmp_path / "cloud")
    mirrored = CloudUnderTest(embedded, embedded.start(tied=True))
    try:
        job = run(mirrored, "registry.example/team/tools:1", ["echo from the mirror"])
        assert log_of(mirrored, job) == ["from the mirror"]
    finally:
        embedded.stop()
