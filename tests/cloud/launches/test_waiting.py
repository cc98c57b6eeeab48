"""`scar-launch` on a deployed workflow: waiting, failures, and what is done already."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from typing import Any

import pytest

from tests.cloud.embedded import SCAR, keys, until
from tests.cloud.launches.conftest import BUCKET, Deployed

pytestmark = pytest.mark.cloud


def test_waiting_tells_what_is_done_and_what_failed_and_done_files_can_be_left_out(
    deployed: Deployed,
) -> None:
    answer = deployed.json("-n", "launch-copy", "--wait", code=1)
    assert (answer["sent"], answer["done"], answer["failed_count"]) == (4, 3, 1)
    assert list(answer["failed"]) == [f"{BUCKET}/in/bad.txt"]
    assert "7" in answer["failed"][f"{BUCKET}/in/bad.txt"]
    assert answer["left_out"] == {"empty": 1}
    wanted = ["out/a-copy.out", "out/b b-copy.out", "out/c+ü-copy.out"]
    assert made(deployed, "out/") == wanted
    assert deployed.waiting_failures("launch-copy") == 1, "the event stays, for scar retry"
    report = report_of(deployed, answer["journal"])
    assert report["asked"]["launch"]["accepted"] == 4
    (own,) = [one for one in report["functions"] if one["runs"]]
    assert (own["name"], own["files"]["done"], own["files"]["failed"]) == ("launch-copy", 3, 1)
    assert [(one["names"], one["files"]) for one in report["failures"]] == [
        ([f"s3://{BUCKET}/in/bad.txt"], 1)
    ]

    output, _errors = deployed.launch("-n", "launch-copy", "--skip-done", "--dry-run")
    assert output.splitlines() == [f"{BUCKET}/in/bad.txt"]
    deployed.cloud.client("s3").put_object(Bucket=BUCKET, Key="out/bad.json", Body=b"{}")
    output, _errors = deployed.launch("-n", "launch-copy", "--skip-done", "--wait")
    assert output.splitlines()[:2] == [
        "There are no files to send in the input folder of launch-copy.",
        "Skipped: 1 file of zero bytes, which functions skip.",
    ]
    assert "Skipped: 4 files whose output already exists." in output
    deployed.cloud.client("s3").delete_object(Bucket=BUCKET, Key="out/bad.json")


def report_of(deployed: Deployed, journal: str) -> dict[str, Any]:
    done = subprocess.run(
        [*SCAR, "report", "--launch", journal, "--json"],
        env=deployed.cloud.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("function", "folder"), [("launch-forger", "forge"), ("launch-forging-job", "forge-job")]
)
def test_files_that_a_script_says_are_done_have_failed_all_the_same(
    function: str, folder: str, deployed: Deployed
) -> None:
    answer = deployed.json("-n", function, "--wait", code=1)
    assert (answer["sent"], answer["done"], answer["failed_count"]) == (3, 1, 2)
    assert list(answer["failed"]) == [f"{BUCKET}/{folder}/{n}.txt" for n in (1, 2)]
    assert all(answer["failed"].values())
    report = report_of(deployed, answer["journal"])
    (own,) = [one for one in report["functions"] if one["runs"]]
    assert (own["name"], own["files"]["done"], own["files"]["failed"]) == (function, 1, 2)
    assert {name for one in report["failures"] for name in one["names"]} == {
        f"s3://{BUCKET}/{folder}/{n}.txt" for n in (1, 2)
    }
    done = subprocess.run(
        [*SCAR, "log", "-n", function, "--since", "1h", "-j"],
        env=deployed.cloud.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    messages = [json.loads(line)["message"] for line in done.stdout.splitlines()]
    summaries = [one for one in messages if isinstance(one, dict) and one["message"] == "summary"]
    assert {one["subject"] for one in summaries if one["status"] == "done"} == {
        f"s3://{BUCKET}/{folder}/0.txt"
    }
    assert sum('"s3://' in one for one in messages if isinstance(one, str)) > 50, "the script did print them"


def test_nothing_is_sent_after_a_first_file_that_fails_and_its_log_is_shown(deployed: Deployed) -> None:
    _output, errors = deployed.launch(
        "-n", "launch-copy", "--match", "b*", "--newer-than", "1d", "--limit", "1"
    )
    answer = deployed.json("-n", "launch-copy", "--match", "deep/*", "--bucket-path", f"{BUCKET}/in")
    assert answer["sent"] == 1
    _output, errors = deployed.launch("-n", "launch-copy", "--match", "bad*", code=1)
    assert f"The first file, {BUCKET}/in/bad.txt, failed: " in errors
    assert "Nothing else was sent. To see the whole log: scar log -n launch-copy" in errors
    assert "End of the log of launch-copy:" in errors
    assert "bad.txt is bad" in errors


def test_a_batch_function_is_waited_for_also_after_an_interruption(deployed: Deployed) -> None:
    process = deployed.start("-f", str(deployed.fdl), "-n", "launch-job", "--wait")
    until(lambda: jobs(deployed))
    process.send_signal(signal.SIGINT)
    _output, errors = process.communicate(timeout=30)
    if process.returncode == 130:  # else it was over already
        again = re.search(r"scar-launch --resume (\S+)", errors)
        assert again is not None, errors
        process = deployed.start("--resume", again[1], "--wait")
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 1, errors
        assert "Nothing left to send: launch-job already received 3 events." in output
        assert "Done: 2 files. Failed: 1 file." in output
        assert re.search(rf"^{BUCKET}/jobs/2-bad.txt +\S", output, re.MULTILINE)
    assert made(deployed, "job-out/") == ["job-out/1-copy.out", "job-out/3-copy.out"]
    (job,) = jobs(deployed)
    assert job["arrayProperties"]["size"] == 3, "one call for all files"
    done = subprocess.run(
        [*SCAR, "retry", "-n", "launch-job", "--dry-run"],
        env=deployed.cloud.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert f"launch-job  {BUCKET}/jobs/2-bad.txt" in done.stdout.splitlines()
    cost = costs(deployed, "launch-job")
    assert (cost["runs"], cost["files"]) == (3, 2)
    names = {item["item"]: item["usd"] for item in cost["items"]}
    # 3 jobs with 1 vCPU, for a minute or, on a busy machine, longer.
    assert 3 * 0.04048 / 60 * 0.99 <= names["Fargate vCPUs"] <= 3 * 0.04048 / 60 * 4


def test_a_job_of_an_array_that_ran_out_of_memory_continues_with_the_next_size(deployed: Deployed) -> None:
    answer = deployed.json("-n", "launch-large", "--wait")
    assert (answer["sent"], answer["done"], answer["failed_count"], len(answer["jobs"])) == (2, 2, 0, 1)
    assert made(deployed, "large-out/") == ["large-out/1.txt", "large-out/2-large.txt"]
    done = subprocess.run(
        [*SCAR, "status", "-n", "launch-large", "-j"],
        env=deployed.cloud.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (status,) = json.loads(done.stdout)["functions"]
    assert (status["queued"], status["running"], status["done"], status["larger"]) == (0, 0, 2, 1)
    assert status["reasons"] == {"OutOfMemoryError: Container killed due to memory usage": 1}


def test_what_cannot_be_waited_for_or_left_out_is_said_before_anything_is_sent(deployed: Deployed) -> None:
    _output, errors = deployed.launch("-n", "launch-quiet", "--wait", code=2)
    assert "and launch-quiet has ERROR" in errors
    _output, errors = deployed.launch("-n", "launch-quiet", "--skip-done", code=2)
    assert "launch-quiet has no output on S3" in errors
    _output, errors = deployed.launch("-n", "launch-copy", "--bucket-path", f"{BUCKET}/wrong", code=2)
    assert f"{BUCKET}/wrong is not in an input of the function ({BUCKET}/in)" in errors


def test_a_launch_stops_before_its_limit_and_what_ran_has_a_price(deployed: Deployed) -> None:
    _output, errors = deployed.launch("-n", "distributed-copy", "--max-cost", "0.00001", code=1)
    assert "might pass --max-cost 0.00001: runs have cost 0.0" in errors
    resumed = re.search(r"Accepted so far: 1 event. To resume: scar-launch --resume (\S+) ", errors)
    assert resumed is not None, errors
    process = deployed.start("--resume", resumed[1], "--max-cost", "1", "--json")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    answer = json.loads(output)
    assert (answer["sent"], answer["accepted"]) == (4, 5)
    cost = costs(deployed, "distributed-copy")
    assert cost["runs"] >= 5
    assert cost["files"] >= 5
    names = {item["item"]: item["usd"] for item in cost["items"]}
    assert 0 < names["Lambda compute (x86)"] < cost["usd"] == pytest.approx(sum(names.values()))


def costs(deployed: Deployed, function: str) -> Any:
    done = subprocess.run(
        [*SCAR, "cost", "--since", "1h", "-n", function, "-j"],
        env=deployed.cloud.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (cost,) = json.loads(done.stdout)["functions"]
    return cost


def made(deployed: Deployed, folder: str) -> list[str]:
    return [key for key in keys(deployed.cloud, BUCKET, folder) if not key.endswith("/")]


def jobs(deployed: Deployed) -> list[Any]:
    batch = deployed.cloud.client("batch")
    named = [{"name": "JOB_NAME", "values": ["launch-job-*"]}]
    return [
        job
        for queue in batch.describe_job_queues()["jobQueues"]
        for job in batch.list_jobs(jobQueue=queue["jobQueueArn"], filters=named)["jobSummaryList"]
    ]
