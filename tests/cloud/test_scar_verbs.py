"""`scar` on a deployed workflow: every verb as a person types it, on one stack and one embedded cloud."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import examples, oci_images
from tests.cloud.embedded import SCAR, CloudUnderTest, until

pytestmark = pytest.mark.cloud

BUCKET = "verb-files"
KEPT = "verb-files-of-before"
SCRIPTS = {
    "copy.sh": '#!/bin/sh\necho "copying $STORAGE_OBJECT_KEY"\ncp -- "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"\n',
    # The input holds a URL: as long as nothing is there, the file cannot be processed.
    "picky.sh": """#!/bin/sh
echo "looking at $STORAGE_OBJECT_KEY"
wget -q -O /dev/null "$(cat "$INPUT_FILE_PATH")" || { echo not yet; exit 7; }
cp -- "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"
""",
    "answer.sh": """#!/bin/sh
echo "hello $name"
[ -z "$INPUT_FILE_PATH" ] || wc -c < "$INPUT_FILE_PATH"
""",
}
FDL = f"""functions:
  aws:
  - lambda:
      name: verb-copy
      memory: 256
      timeout: 60
      init_script: copy.sh
      container: {{image: "busybox:1.37"}}
      input: [{{storage_provider: s3, path: {BUCKET}/in}}]
      output:
      - {{storage_provider: s3, path: {BUCKET}/out}}
      - {{storage_provider: s3, path: {KEPT}/out}}
  - lambda:
      name: verb-picky
      timeout: 60
      init_script: picky.sh
      container: {{image: "busybox:1.37"}}
      input: [{{storage_provider: s3, path: {BUCKET}/picky}}]
      output: [{{storage_provider: s3, path: {BUCKET}/picked}}]
  - lambda:
      name: verb-job
      execution_mode: batch
      init_script: picky.sh
      container: {{image: "busybox:1.37"}}
      input: [{{storage_provider: s3, path: {BUCKET}/jobs}}]
      output: [{{storage_provider: s3, path: {BUCKET}/job-out}}]
    batch: {{attempts: 1}}
  - lambda:
      name: verb-http
      timeout: 60
      init_script: answer.sh
      container: {{image: "busybox:1.37"}}
    api_gateway: {{name: verb-api}}
"""


@dataclass(frozen=True)
class Verbs:
    """The deployed stack, and the command on it."""

    cloud: CloudUnderTest
    fdl: Path
    mirrors: str
    """Where images come from, as an option of those verbs that deploy."""

    def scar_anyhow(self, *arguments: str, answers: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SCAR, *arguments],
            env={**self.cloud.environment(), "SCAR_LOCAL_STATE": "/nonexistent"},
            input=answers,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def scar(self, *arguments: str, code: int = 0, answers: str = "") -> subprocess.CompletedProcess[str]:
        done = self.scar_anyhow(*arguments, answers=answers)
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.scar(*arguments, "-j", code=code).stdout)

    def put(self, key: str, body: bytes) -> None:
        self.cloud.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)

    def keys(self, folder: str) -> list[str]:
        listed = self.cloud.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"{folder}/")
        return [entry["Key"] for entry in listed.get("Contents", []) if not entry["Key"].endswith("/")]


class Door(ThreadingHTTPServer):
    """Answers 404 as long as it is shut."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Doorkeeper)
        self.open = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Doorkeeper(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Door)
        self.send_response(200 if self.server.open else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def door() -> Iterator[Door]:
    server = Door()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def verbs(cloud: CloudUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Verbs:
    if not examples.busybox_layers():
        pytest.skip("a static busybox is needed (Debian: apt install busybox-static)")
    folder = tmp_path_factory.mktemp("verbs")
    oci_images.write_layout(folder / "docker.io" / "library" / "busybox", {"1.37": examples.busybox_image()})
    for name, text in SCRIPTS.items():
        (folder / name).write_text(text)
    fdl = folder / "verbs.yaml"
    fdl.write_text(FDL)
    cloud.client("s3").create_bucket(Bucket=KEPT)
    verbs = Verbs(cloud, fdl, f"registry_mirrors=docker.io=file://{folder / 'docker.io'}")
    done = verbs.scar("init", "-f", str(fdl), "-c", verbs.mirrors, "-y")
    assert f"verb-copy is deployed. To run it:  scar put -b {BUCKET}/in -p FILE" in done.stdout
    assert "verb-http is deployed. To run it:  scar run -n verb-http" in done.stdout
    return verbs


# init, diff, rm


def test_a_bucket_that_was_there_before_is_used_and_belongs_to_no_stack(verbs: Verbs) -> None:
    resources = verbs.cloud.client("cloudformation").list_stack_resources(StackName="verbs")
    buckets = [
        one["PhysicalResourceId"]
        for one in resources["StackResourceSummaries"]
        if one["ResourceType"] == "AWS::S3::Bucket"
    ]
    assert buckets == [BUCKET]
    verbs.put("in/both.txt", b"both")
    s3 = verbs.cloud.client("s3")
    until(
        lambda: [e["Key"] for e in s3.list_objects_v2(Bucket=KEPT).get("Contents", [])],
        lambda found: "out/both.txt" in found,
        60,
    )


def test_diff_shows_what_would_change_and_changes_nothing(verbs: Verbs, tmp_path: Path) -> None:
    for file in verbs.fdl.parent.glob("*.sh"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    changed = tmp_path / verbs.fdl.name
    changed.write_text(FDL.replace("memory: 256", "memory: 384"))
    shown = verbs.scar("diff", "-f", str(changed), "-c", verbs.mirrors, "--fail", code=1)
    told = shown.stdout + shown.stderr
    assert "MemorySize" in told
    assert "384" in told
    assert "BucketsverbfilesofbeforeBucket" not in told, "a bucket of before is none that would be made"
    assert verbs.json("ls", "-n", "verb-copy")["Functions"][0]["Memory"] == 256


def test_a_function_made_from_flags_is_deployed_run_and_deleted(verbs: Verbs, tmp_path: Path) -> None:
    script = tmp_path / "hello.sh"
    script.write_text('#!/bin/sh\necho "hello $WHOM"\n')
    flags = ("-n", "verb-flags", "-i", "busybox:1.37", "-s", str(script), "-m", "192", "-t", "45")
    made = verbs.scar("init", *flags, "-e", "WHOM=you", "-c", verbs.mirrors, answers="y\n")
    assert "Deploy verb-flags?" in made.stderr
    (function,) = verbs.json("ls", "-n", "verb-flags")["Functions"]
    assert (function["Memory"], function["Timeout"]) == (192, 45)
    assert verbs.scar("run", "-n", "verb-flags").stdout == "hello you\n"
    assert "Nothing was changed" in verbs.scar("rm", "-n", "verb-flags", answers="n\n", code=1).stderr
    assert "Deleted verb-flags." in verbs.scar("rm", "-n", "verb-flags", "-y").stdout
    assert "There is no function verb-flags" in verbs.scar("run", "-n", "verb-flags", code=2).stderr


def test_rm_deletes_nothing_that_was_not_meant(verbs: Verbs) -> None:
    assert "is deployed together with" in verbs.scar("rm", "-n", "verb-copy", "-y", code=2).stderr
    assert "There has to be one of" in verbs.scar("rm", code=2).stderr
    assert "There is no stack none" in verbs.scar("rm", "--stack", "none", "-y", code=2).stderr
    asked = verbs.scar("rm", "-a", code=2)
    assert "verb-copy" in asked.stderr
    assert "Give -y" in asked.stderr
    assert verbs.json("ls", "-n", "verb-copy")["Functions"]


# ls


def test_ls_lists_functions_in_the_shape_that_scripts_parse(verbs: Verbs) -> None:
    functions = {entry["Name"]: entry for entry in verbs.json("ls")["Functions"]}
    assert set(functions) >= {"verb-copy", "verb-picky", "verb-job", "verb-http"}
    copy = functions["verb-copy"]
    assert (copy["Memory"], copy["Timeout"], copy["Image_id"]) == (256, 60, "busybox:1.37")
    assert copy["Api_gateway"] == "-"
    assert functions["verb-http"]["Api_gateway"].endswith("/scar/launch")
    assert functions["verb-job"]["Mode"] == "batch"
    table = verbs.scar("ls", "-f", str(verbs.fdl)).stdout.splitlines()
    assert len(table) == 5
    assert "256 MB" in next(line for line in table if line.startswith("verb-copy "))


def test_ls_lists_files(verbs: Verbs) -> None:
    verbs.put("listed/a b\x1b.txt", b"123")
    assert [(e["Key"], e["Size"]) for e in verbs.json("ls", "-b", f"{BUCKET}/listed")] == [
        ("listed/a b\x1b.txt", 3)
    ]
    shown = verbs.scar("ls", "-b", f"{BUCKET}/listed").stdout
    assert "3 bytes  listed/a b\\x1b.txt" in shown


def test_a_function_that_is_not_deployed_is_said_with_what_there_is(verbs: Verbs, tmp_path: Path) -> None:
    assert "There are: verb-copy" in verbs.scar("ls", "-n", "nobody", code=2).stderr
    other = tmp_path / "other.yaml"
    other.write_text("functions: {aws: [{lambda: {name: other, container: {image: busybox}}}]}")
    assert f"Deploy it: scar init -f {other}" in verbs.scar("ls", "-f", str(other), code=2).stderr


# get


def test_get_fetches_a_folder_and_nothing_outside_of_it(verbs: Verbs, tmp_path: Path) -> None:
    content = {"a b+c.txt": b"one", "deep/ü.bin": b"\0" * 9_000_000, "-rf": b""}
    for name, body in content.items():
        verbs.put(f"wanted/{name}", body)
    target = tmp_path / "here" / "files"
    assert "3 files" in verbs.scar("get", "-b", f"{BUCKET}/wanted", "-p", str(target)).stdout
    found = {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    assert found == content
    verbs.put("hostile/../../escaped", b"out")
    verbs.put("hostile//tmp/escaped", b"out")
    verbs.put("hostile/fine", b"in")
    answer = verbs.json("get", "-b", f"{BUCKET}/hostile", "-p", str(target / "hostile"), code=1)
    assert [entry["key"] for entry in answer["files"]] == ["hostile/fine"]
    assert len(answer["failed"]) == 2
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == sorted(
        ["a b+c.txt", "ü.bin", "-rf", "fine"]
    )


def test_get_fetches_one_file_under_its_name_or_another(verbs: Verbs, tmp_path: Path) -> None:
    verbs.put("single/file.txt", b"text")
    verbs.scar("get", "-b", f"{BUCKET}/single/file.txt", "-p", str(tmp_path))
    verbs.scar("get", "-b", f"{BUCKET}/single/file.txt", "-p", str(tmp_path / "renamed.txt"))
    assert (tmp_path / "file.txt").read_bytes() == (tmp_path / "renamed.txt").read_bytes() == b"text"
    assert "no file" in verbs.scar("get", "-b", f"{BUCKET}/none", "-p", str(tmp_path), code=2).stderr


def test_get_waits_for_what_is_still_to_come(verbs: Verbs, tmp_path: Path) -> None:
    verbs.put("in/watched.txt", b"watched")
    verbs.scar(
        "get", "-b", f"{BUCKET}/out", "-p", str(tmp_path), "--watch", "--expect", "1", "--within", "60"
    )
    assert (tmp_path / "watched.txt").read_bytes() == b"watched"
    until(lambda: verbs.keys("out"))


# log, status, retry


def test_the_log_of_a_request_holds_its_lines_and_no_others(verbs: Verbs) -> None:
    answers = [
        json.loads(
            verbs.cloud.client("lambda")
            .invoke(FunctionName="verb-http", Payload=json.dumps({"cmd_args": ["echo", word]}))["Payload"]
            .read()
        )
        for word in ("apples", "pears")
    ]
    ids = [answer["request_id"] for answer in answers]
    shown = verbs.scar("log", "-n", "verb-http", "-ri", ids[1]).stdout
    assert "  pears\n" in shown
    assert "apples" not in shown
    assert "summary" in shown
    everything = verbs.scar("log", "-n", "verb-http", "--since", "1h").stdout
    assert "apples" in everything
    assert "pears" in everything
    first = json.loads(verbs.scar("log", "-n", "verb-http", "-j").stdout.splitlines()[0])
    by_stream = verbs.scar("log", "-n", "verb-http", "-ls", first["stream"], "--raw").stdout
    assert by_stream.startswith("START RequestId: ")
    assert "No log tells" in verbs.scar("log", "-ri", "0-0", code=2).stderr


def test_failed_events_are_counted_and_can_be_sent_again(verbs: Verbs, door: Door) -> None:
    """Of a function and of a job: the whole way to the failure queue, the status, the log, and back."""
    verbs.put("picky/a b.txt", door.url.encode())
    verbs.put("jobs/ü.txt", door.url.encode())

    sqs = verbs.cloud.client("sqs")
    urls = {name: failure_queue(verbs, name) for name in ("verb-picky", "verb-job")}

    def waiting() -> dict[str, int]:
        asked = {
            name: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
            for name, url in urls.items()
        }
        return {n: int(one["Attributes"]["ApproximateNumberOfMessages"]) for n, one in asked.items()}

    until(waiting, lambda found: found == {"verb-picky": 1, "verb-job": 1}, 60)
    status = {one["function"]: one for one in verbs.json("status", code=1)["functions"]}
    assert status["verb-picky"]["failed"] == 3
    assert status["verb-job"]["failed"] == 1
    assert status["verb-job"]["queued"] == status["verb-job"]["running"] == 0
    assert status["verb-picky"]["last_activity"].startswith("20")
    table = verbs.scar("status", code=1)
    assert "scar retry" in table.stderr
    log = verbs.scar("log", "-n", "verb-job").stdout
    assert log.index("submitted") < log.index("  looking at jobs/ü.txt") < log.index("  not yet")
    submitted = next(
        json.loads(line)["message"]
        for line in verbs.scar("log", "-n", "verb-job", "-j").stdout.splitlines()
        if '"submitted"' in line
    )
    of_request = verbs.scar("log", "-n", "verb-job", "-ri", submitted["request_id"]).stdout
    assert "submitted" in of_request
    assert "  not yet" in of_request

    assert verbs.json("retry", "--dry-run")["functions"][1]["events"] == [f"{BUCKET}/picky/a b.txt"]
    assert waiting()["verb-picky"] == 1
    sqs.send_message(QueueUrl=urls["verb-picky"], MessageBody="no event")
    door.open = True
    assert "1 failed event was sent again." in verbs.scar("retry", "-n", "verb-job").stdout
    answer = verbs.json("retry", "-f", str(verbs.fdl), code=1)
    assert {one["function"]: one["events"] for one in answer["functions"]}["verb-picky"] == [
        f"{BUCKET}/picky/a b.txt"
    ]
    until(lambda: (verbs.keys("picked"), verbs.keys("job-out")), all, 60)
    assert verbs.keys("picked") == ["picked/a b.txt"]
    assert verbs.keys("job-out") == ["job-out/ü.txt"]
    assert waiting()["verb-picky"] == 1, "what cannot be read stays"
    sqs.purge_queue(QueueUrl=urls["verb-picky"])


def failure_queue(verbs: Verbs, function: str) -> str:
    (stack,) = verbs.cloud.client("cloudformation").describe_stacks(StackName="verbs")["Stacks"]
    (value,) = [o["OutputValue"] for o in stack["Outputs"] if o["OutputKey"] == "ScarWorkflow"]
    (url,) = [f["failure_queue_url"] for f in json.loads(value)["functions"] if f["name"] == function]
    return str(url)


# run, invoke


def test_run_gives_a_command_or_a_script_to_the_container_and_shows_its_output(
    verbs: Verbs, tmp_path: Path
) -> None:
    assert verbs.scar("run", "-n", "verb-http", "echo", "-n", "a b").stdout == "a b\n"
    script = tmp_path / "script.sh"
    script.write_text("#!/bin/sh\necho from the script\n")
    output = tmp_path / "output.txt"
    verbs.scar("run", "-f", str(verbs.fdl), "-n", "verb-http", "-s", str(script), "-o", str(output))
    assert output.read_text() == "from the script\n"


def test_run_answers_in_the_shape_that_scripts_parse(verbs: Verbs) -> None:
    told = json.loads(verbs.scar("run", "-n", "verb-http", "-j", "echo", "hi").stdout)["LambdaOutput"]
    assert (told["StatusCode"], told["Payload"], told["LogGroupName"]) == (
        200,
        "hi",
        "/aws/lambda/verb-http",
    )
    assert told["RequestId"] in verbs.scar("log", "-n", "verb-http", "-ls", told["LogStreamName"]).stdout


def test_run_says_what_failed_and_where_the_log_is(verbs: Verbs) -> None:
    failed = verbs.scar("run", "-n", "verb-http", "sh", "-c", "echo upside down; exit 7", code=1)
    assert "verb-http failed: " in failed.stderr
    assert "exit code 7" in failed.stderr
    command = failed.stderr.splitlines()[-1].partition("scar log ")[2].split()
    assert "upside down" in verbs.scar("log", *command).stdout


def test_run_does_not_wait_if_told_so(verbs: Verbs) -> None:
    started = verbs.scar("run", "-a", "-n", "verb-http", "echo", "in", "the", "background").stdout
    command = started.strip().partition("scar log ")[2].split()
    until(lambda: "  in the background" in verbs.scar_anyhow("log", *command).stdout, within_s=60)


def test_run_with_a_file_runs_on_what_is_in_the_input_folder(verbs: Verbs) -> None:
    verbs.put("in/launched.txt", b"x")
    until(lambda: "out/launched.txt" in verbs.keys("out"), within_s=60)
    verbs.cloud.client("s3").delete_object(Bucket=BUCKET, Key="out/launched.txt")
    assert "verb-copy" in verbs.scar("run", "-f", str(verbs.fdl), "-n", "verb-copy").stdout
    until(lambda: "out/launched.txt" in verbs.keys("out"), within_s=60)


def test_run_asks_which_function_where_there_are_several(verbs: Verbs) -> None:
    assert "Say which one by -n" in verbs.scar("run", "echo", code=2).stderr


def test_invoke_calls_the_http_endpoint(verbs: Verbs, tmp_path: Path) -> None:
    assert verbs.scar("invoke", "-f", str(verbs.fdl), "-p", "name=a b").stdout == "hello a b\n"
    body = tmp_path / "body"
    body.write_bytes(bytes(range(256)))
    answer = verbs.json("invoke", "-n", "verb-http", "-db", str(body), "-p", '{"name": "you"}')
    assert (answer["StatusCode"], answer["Payload"].split()) == (200, ["hello", "you", "256"])
    by_json = verbs.scar("invoke", "-n", "verb-http", "-jd", '{"a": 1}', "-o", str(tmp_path / "answer"))
    assert by_json.stdout == ""
    assert (tmp_path / "answer").read_text().split() == ["hello", "8"]
    assert verbs.json("invoke", "-n", "verb-http", "-a")["StatusCode"] == 202
    refused = verbs.scar("invoke", "-n", "verb-http", "-p", "LD_PRELOAD=x", code=1)
    assert "answered 400" in refused.stderr
    assert "has no HTTP endpoint" in verbs.scar("invoke", "-n", "verb-copy", code=2).stderr
