"""`scar put` and `scar-launch` against the embedded cloud."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.embedded import SCAR, CloudUnderTest, ended, keys, make_function, notify, until

pytestmark = pytest.mark.cloud

LAUNCH = [sys.executable, "-c", "from scar_cli.commands.launch import main; main()"]
WRITES_DOWN = """
import json
def handle(event, context):
    with open({witness!r}, "a") as witness:
        for record in event["Records"]:
            witness.write(json.dumps(record) + "\\n")
"""


def run(cloud: CloudUnderTest, command: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**cloud.environment(), "SCAR_LOCAL_STATE": "/nonexistent"}
    return subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_files_arrive_with_their_bytes_types_and_names(cloud: CloudUnderTest, tmp_path: Path) -> None:
    cloud.client("s3").create_bucket(Bucket="put-here")
    content = {
        "a b+c.jpg": b"\0\1",
        "ü/ñ.png": b"png",
        "100%.txt": b"%",
        "x'\"$(id).txt": b"quoted",
        "-rf": b"",
    }
    for name, data in content.items():
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    done = run(cloud, SCAR, "put", "-b", "put-here/in", "-p", str(tmp_path / "files"), "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["failed"], len(answer["files"])) == (0, [], 5)
    s3 = cloud.client("s3")
    stored = {key: s3.get_object(Bucket="put-here", Key=key) for key in keys(cloud, "put-here", "in/")}
    assert {key.removeprefix("in/"): entry["Body"].read() for key, entry in stored.items()} == content
    assert stored["in/ü/ñ.png"]["ContentType"] == "image/png"


def test_a_large_file_goes_in_parts_and_a_terminal_shows_a_bar(cloud: CloudUnderTest, tmp_path: Path) -> None:
    cloud.client("s3").create_bucket(Bucket="put-large")
    big = tmp_path / "seq1.avi"
    big.write_bytes(os.urandom(40 << 20))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*SCAR, "put", "-b", "put-large", "-p", str(big)],
        env={**cloud.environment(), "TERM": "xterm", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the terminal's other side is closed
            break
        if not data:
            break
        shown += data
    output, _none = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output.startswith("Uploaded 1 file (41.9 MB) to put-large in ")
    assert b"MB" in shown
    stored = cloud.client("s3").head_object(Bucket="put-large", Key="seq1.avi")
    assert stored["ContentLength"] == big.stat().st_size
    assert stored["ETag"].strip('"').endswith("-5")  # five parts of 8 MiB
    back = tmp_path / "back.avi"
    cloud.client("s3").download_file("put-large", "seq1.avi", str(back))  # in ranges
    assert back.read_bytes() == big.read_bytes()


def test_a_proxy_is_not_asked_for_the_cloud_on_this_machine(cloud: CloudUnderTest, tmp_path: Path) -> None:
    cloud.client("s3").create_bucket(Bucket="put-past-proxies")
    (tmp_path / "a").write_bytes(b"1")
    proxies = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    environment = {name: value for name, value in cloud.environment().items() if name.lower() != "no_proxy"}
    done = subprocess.run(
        [*SCAR, "put", "-b", "put-past-proxies", "-p", str(tmp_path / "a")],
        env={**environment, **proxies},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert keys(cloud, "put-past-proxies", "") == ["a"]
    shown = subprocess.run(
        [*SCAR, "local", "env", "--state", str(cloud.cloud.state)],
        env={**environment, **proxies, "NO_PROXY": "intranet"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert "export NO_PROXY=intranet,127.0.0.1,localhost\n" in shown


def test_a_bucket_that_does_not_exist_is_said_with_what_to_do(cloud: CloudUnderTest, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    done = run(cloud, SCAR, "put", "-b", "no-such-bucket/in", "-p", str(tmp_path / "a"))
    assert done.returncode == 2
    assert f"The bucket no-such-bucket does not exist at {cloud.endpoint}" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_upload_ends_at_once_and_leaves_no_parts(
    cloud: CloudUnderTest, tmp_path: Path
) -> None:
    cloud.client("s3").create_bucket(Bucket="put-interrupted")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(2 << 30)
    (tmp_path / "small").write_bytes(b"small")
    files = [argument for name in ("small", "large") for argument in ("-p", str(tmp_path / name))]
    process = subprocess.Popen(
        [*SCAR, "put", "-b", "put-interrupted/in", *files],
        env=cloud.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    s3 = cloud.client("s3")
    with ended([process]):
        until(lambda: s3.list_multipart_uploads(Bucket="put-interrupted").get("Uploads"))
        until(lambda: keys(cloud, "put-interrupted", "in/"))
        process.send_signal(signal.SIGINT)
        _none, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "1 of 2 files were uploaded" in said
    assert "Traceback" not in said
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="put-interrupted")
    assert keys(cloud, "put-interrupted", "in/") == ["in/small"]


# scar-launch


@pytest.fixture
def fdl(tmp_path: Path) -> Path:
    file = tmp_path / "launched.yaml"
    file.write_text(
        "functions:\n  aws:\n  - lambda:\n      name: launched\n      container: {image: grycap/cowsay}\n"
        "      input: [{storage_provider: s3, path: launch-here/in}]\n"
    )
    return file


def launched(cloud: CloudUnderTest, witness: Path, count: int = 25) -> dict[str, Any]:
    """A bucket with files in it, and the function that writes down its events; gives the keys."""
    s3, function = cloud.client("s3"), cloud.client("lambda")
    if "launch-here" not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket="launch-here")
        for key in ("in/", "in/deep/", "elsewhere/x"):
            s3.put_object(Bucket="launch-here", Key=key)
        for number in range(count):
            s3.put_object(Bucket="launch-here", Key=f"in/{number} ü+.txt", Body=b"1234")
    if any(known["FunctionName"] == "launched" for known in function.list_functions()["Functions"]):
        function.delete_function(FunctionName="launched")
    make_function(cloud, "launched", WRITES_DOWN.format(witness=str(witness)), Timeout=30)
    return {f"in/{number} ü+.txt": 4 for number in range(count)}


def test_each_file_that_is_there_gets_one_event(cloud: CloudUnderTest, fdl: Path, tmp_path: Path) -> None:
    wanted = launched(cloud, tmp_path / "witness")
    done = run(cloud, LAUNCH, "-f", str(fdl), "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["function"], answer["sent"], answer["failed"]) == ("launched", 25, {})
    lines = until(
        lambda: (tmp_path / "witness").read_text().splitlines(), lambda lines: len(lines) >= len(wanted)
    )
    seen = [json.loads(line)["s3"]["object"] for line in lines]
    assert len(seen) == len(wanted)
    assert {entry["key"] for entry in seen} == {f"in/{number}+%C3%BC%2B.txt" for number in range(25)}
    assert {entry["size"] for entry in seen} == {4}


def test_a_dry_run_and_a_limit_send_no_more_than_they_say(
    cloud: CloudUnderTest, fdl: Path, tmp_path: Path
) -> None:
    launched(cloud, tmp_path / "witness")
    done = run(cloud, LAUNCH, "-f", str(fdl), "--dry-run", "--limit", "3")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)
    assert done.stdout.startswith("launch-here/in/")
    assert not (tmp_path / "witness").exists()
    assert run(cloud, LAUNCH, "-f", str(fdl), "--limit", "1").stdout.startswith("Sent 1 event to launched")
    assert len((tmp_path / "witness").read_text().splitlines()) == 1


def test_nothing_is_sent_after_a_first_file_that_fails(
    cloud: CloudUnderTest, fdl: Path, tmp_path: Path
) -> None:
    launched(cloud, tmp_path / "no" / "such" / "folder")
    done = run(cloud, LAUNCH, "-f", str(fdl))
    assert done.returncode == 1
    assert "The first file, launch-here/in/0 ü+.txt, failed: " in done.stderr
    assert "No such file or directory" in done.stderr
    assert "Nothing else was sent" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--bucket-suffix", "other"), "There is no bucket launch-here-other"),
        (("-n", "none"), "There is no function none in the file"),
    ],
)
def test_what_is_missing_is_said(
    cloud: CloudUnderTest, fdl: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    launched(cloud, tmp_path / "witness")
    done = run(cloud, LAUNCH, "-f", str(fdl), *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_bucket_suffix_that_was_forgotten_is_told(cloud: CloudUnderTest, tmp_path: Path) -> None:
    function = {
        "name": "suffixed",
        "mode": "lambda",
        "log_group": "/aws/lambda/suffixed",
        "failure_queue_url": cloud.endpoint,
        "inputs": ["launch-suffixed-mine/in"],
    }
    told = json.dumps({"functions": [function], "buckets": []})
    template = {
        "Resources": {"Any": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {"ScarWorkflow": {"Value": told}},
    }
    cloudformation = cloud.client("cloudformation")
    cloudformation.create_stack(StackName="launch-suffixed", TemplateBody=json.dumps(template))
    until(
        lambda: cloudformation.describe_stacks(StackName="launch-suffixed")["Stacks"][0]["StackStatus"],
        lambda status: status == "CREATE_COMPLETE",
    )
    file = tmp_path / "suffixed.yaml"
    file.write_text(
        "functions:\n  aws:\n  - lambda:\n      name: suffixed\n      container: {image: grycap/cowsay}\n"
        "      input: [{storage_provider: s3, path: launch-suffixed/in}]\n"
    )
    done = run(cloud, LAUNCH, "-f", str(file))
    assert done.returncode == 2
    assert "deployed with the bucket suffix mine. Add --bucket-suffix mine." in done.stderr
    cloudformation.delete_stack(StackName="launch-suffixed")


def test_a_function_that_is_not_deployed_is_said(cloud: CloudUnderTest, fdl: Path, tmp_path: Path) -> None:
    launched(cloud, tmp_path / "witness")
    cloud.client("lambda").delete_function(FunctionName="launched")
    done = run(cloud, LAUNCH, "-f", str(fdl))
    assert done.returncode == 2
    assert "The function launched is not deployed" in done.stderr


def test_an_upload_triggers_what_is_deployed(cloud: CloudUnderTest, tmp_path: Path) -> None:
    cloud.client("s3").create_bucket(Bucket="put-triggers")
    witness = tmp_path / "witness"
    arn = make_function(cloud, "triggered", WRITES_DOWN.format(witness=str(witness)), Timeout=30)
    notify(cloud, "put-triggers", {"in/": arn})
    (tmp_path / "ü 1.txt").write_text("1")
    assert run(cloud, SCAR, "put", "-b", "put-triggers/in", "-p", str(tmp_path / "ü 1.txt")).returncode == 0
    assert run(cloud, SCAR, "put", "-b", "put-triggers/out", "-p", str(tmp_path / "ü 1.txt")).returncode == 0
    until(witness.exists)
    records = [json.loads(line) for line in witness.read_text().splitlines()]
    assert [record["s3"]["object"]["key"] for record in records] == ["in/%C3%BC+1.txt"]
