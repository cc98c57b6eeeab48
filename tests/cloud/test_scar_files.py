"""`scar put`, `get` and `ls -b`: files into buckets, out of them, and what is there."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import pytest

from local_cloud.cloud import Cloud
from tests.cloud.embedded import CloudUnderTest
from tests.cloud.scar_command import Scar

pytestmark = pytest.mark.cloud

BUCKET = "scar-files"


@pytest.fixture(scope="module")
def scar(cloud: CloudUnderTest) -> Scar:
    cloud.client("s3").create_bucket(Bucket=BUCKET)
    return Scar(cloud)


def test_put_takes_files_and_folders(scar: Scar, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a b+ü.jpg").write_bytes(b"1")
    (folder / "empty").touch()
    single = tmp_path / "single.txt"
    single.write_bytes(b"22")
    answer = scar.json("put", "-b", f"{BUCKET}/sent", "-p", str(folder), "--path", str(single))
    assert {entry["key"]: entry["bytes"] for entry in answer["files"]} == {
        "sent/deep/a b+ü.jpg": 1,
        "sent/empty": 0,
        "sent/single.txt": 2,
    }
    assert scar.keys(BUCKET, "sent") == ["sent/deep/a b+ü.jpg", "sent/empty", "sent/single.txt"]
    assert "Uploaded 1 file (2 bytes)" in scar("put", "-b", BUCKET, "-p", str(single)).stdout
    refused = scar("put", "-b", "no-such-bucket", "-p", str(single), code=2).stderr
    assert "The bucket no-such-bucket does not exist at http://127.0.0.1" in refused


@pytest.fixture(scope="module")
def queue(scar: Scar) -> str:
    """The failure queue of a function that is deployed, as far as CloudFormation knows."""
    url: str = scar.cloud.client("sqs").create_queue(QueueName="files-failures")["QueueUrl"]
    function = {
        "name": "files-function",
        "mode": "lambda",
        "log_group": "/aws/lambda/files-function",
        "failure_queue_url": url,
        "inputs": [f"{BUCKET}/processed"],
        "outputs": [f"{BUCKET}/results"],
    }
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {"ScarWorkflow": {"Value": json.dumps({"functions": [function], "buckets": [BUCKET]})}},
    }
    cloudformation = scar.cloud.client("cloudformation")
    cloudformation.create_stack(StackName="files-stack", TemplateBody=json.dumps(template))
    return url


def test_put_warns_of_empty_files_and_of_names_that_are_in_two_folders(
    scar: Scar, queue: str, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text(name)
        (tmp_path / name / "empty.txt").touch()
    assert scar("put", "-b", f"{BUCKET}/elsewhere", "-p", str(tmp_path)).stderr == ""
    said = scar("put", "-b", f"{BUCKET}/processed", "-p", str(tmp_path)).stderr.splitlines()
    assert said == [
        f"scar: Functions do not run on empty files: {tmp_path}/a/empty.txt, {tmp_path}/b/empty.txt",
        "scar: processed/a/x.txt and processed/b/x.txt have the same name. If files-function names its "
        "outputs after the input file, one output replaces the other. To keep both, use $SCAR_INPUT_FOLDER "
        "in the script (docs/scripts.md).",
    ]


def test_watching_stops_when_the_function_that_writes_there_fails(
    scar: Scar, queue: str, tmp_path: Path
) -> None:
    event = {"Records": [{"s3": {"bucket": {"name": BUCKET}, "object": {"key": "processed/a+b.txt"}}}]}
    failure = {"requestPayload": event, "responsePayload": {"errorMessage": "exit code 7"}}
    scar.put(BUCKET, "results/first.txt", b"1")
    words = ("get", "-b", f"{BUCKET}/results/deep", "-p", str(tmp_path), "--watch", "--within", "60")
    scar.cloud.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(failure))
    said = scar(*words, "--expect", "2", code=1)
    assert said.stderr == (
        f"scar: Stopped waiting: files-function failed for {BUCKET}/processed/a b.txt: exit code 7. See its "
        "log: scar log -n files-function. When the cause is fixed, run it again: scar retry -n "
        "files-function.\n"
    )
    attributes = scar.cloud.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
    assert attributes["Attributes"]["ApproximateNumberOfMessages"] == "1", "the event stays, for scar retry"
    words = ("get", "-b", f"{BUCKET}/results", "-p", str(tmp_path), "--watch", "--within", "60")
    assert scar(*words, "--expect", "1").stdout.startswith("Downloaded 1 file"), "all expected files are here"


def test_ls_lists_files(scar: Scar) -> None:
    scar.put(BUCKET, "listed/a b\x1b.txt", b"123")
    found = scar.json("ls", "-b", f"{BUCKET}/listed")
    assert [(entry["Key"], entry["Size"]) for entry in found] == [("listed/a b\x1b.txt", 3)]
    assert "3 bytes  listed/a b\\x1b.txt" in scar("ls", "--bucket", f"{BUCKET}/listed").stdout
    assert "No files in the folder none" in scar("ls", "-b", f"{BUCKET}/none").stderr


def test_get_fetches_a_folder_and_nothing_outside_of_it(scar: Scar, tmp_path: Path) -> None:
    content = {"a b+c.txt": b"one", "deep/ü.bin": b"\0" * 9_000_000, "-rf": b""}
    for name, body in content.items():
        scar.put(BUCKET, f"wanted/{name}", body)
    target = tmp_path / "here" / "files"
    assert "3 files" in scar("get", "-b", f"{BUCKET}/wanted", "-p", str(target)).stdout
    found = {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    assert found == content
    scar.put(BUCKET, "hostile/../../escaped", b"out")
    scar.put(BUCKET, "hostile//tmp/escaped", b"out")
    scar.put(BUCKET, "hostile/fine", b"in")
    answer = scar.json("get", "-b", f"{BUCKET}/hostile", "-p", str(target / "hostile"), code=1)
    assert [entry["key"] for entry in answer["files"]] == ["hostile/fine"]
    assert len(answer["failed"]) == 2
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == sorted(
        ["a b+c.txt", "ü.bin", "-rf", "fine"]
    )


def test_get_fetches_one_file_under_its_name_or_another(scar: Scar, tmp_path: Path) -> None:
    scar.put(BUCKET, "single/file.txt", b"text")
    scar("get", "-b", f"{BUCKET}/single/file.txt", "-p", str(tmp_path))
    scar("get", "-b", f"{BUCKET}/single/file.txt", "-p", str(tmp_path / "renamed.txt"))
    scar("get", "-b", f"{BUCKET}/single/file.txt", "-p", f"{tmp_path}/new/")
    paths = [tmp_path / name for name in ("file.txt", "renamed.txt", "new/file.txt")]
    assert [path.read_bytes() for path in paths] == [b"text"] * 3
    assert "no file" in scar("get", "-b", f"{BUCKET}/none", "-p", str(tmp_path), code=2).stderr


def test_get_waits_for_what_is_still_to_come(scar: Scar, tmp_path: Path) -> None:
    scar.put(BUCKET, "coming/first.txt", b"1")
    words = ("get", "-b", f"{BUCKET}/coming", "-p", str(tmp_path), "--watch", "--within")
    assert "only 1 of 2 files arrived in time" in scar(*words, "0", "--expect", "2", code=1).stderr
    later = threading.Timer(0.5, scar.put, (BUCKET, "coming/second.txt", b"2"))
    later.start()
    scar(*words, "60", "--expect", "2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.txt", "second.txt"]
    later.join()


def test_ctrl_c_ends_the_waiting_for_files_and_tells_what_has_come(scar: Scar, tmp_path: Path) -> None:
    scar.put(BUCKET, "watched/first.txt", b"1")
    words = ("get", "-b", f"{BUCKET}/watched", "-p", str(tmp_path), "--watch")
    with scar.following(*words) as waiting:
        assert waiting.stderr is not None
        assert next(waiting.stderr) == "watched/first.txt (1 bytes)\n"
        waiting.send_signal(signal.SIGINT)
        output, errors = waiting.communicate(timeout=60)
        assert (waiting.returncode, errors) == (0, "")
    assert output.startswith("Downloaded ")
    assert [path.name for path in tmp_path.iterdir()] == ["first.txt"]


def test_what_a_user_may_not_do_is_said(tmp_path: Path) -> None:
    """As somebody without any rights."""
    embedded = Cloud(tmp_path / "cloud")
    cloud = CloudUnderTest(embedded, embedded.start(tied=True))
    try:
        cloud.client("s3").create_bucket(Bucket=BUCKET)
        cloud.client("iam").create_user(UserName="guest")
        key = cloud.client("iam").create_access_key(UserName="guest")["AccessKey"]
        keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        scar = Scar(cloud, more=keys)
        refused = scar("status", code=2).stderr
        assert refused.startswith(
            "scar: DescribeStacks is not allowed: User: arn:aws:iam::000000000000:user/guest"
        )
        assert refused.endswith("Ask for this permission, or set AWS_PROFILE to another profile.\n")
        for verb in ("ls", "get"):
            assert f"The bucket {BUCKET} exists, but these" in scar(verb, "-b", BUCKET, code=2).stderr
    finally:
        embedded.stop()
