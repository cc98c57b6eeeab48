"""The embedded cloud as a stranger uses it: by the `scar` command, boto3, and sometimes `kill -9`."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.cloud.embedded import (
    SCAR,
    CloudUnderTest,
    Shell,
    any_role,
    has_ended,
    make_function,
    make_queue,
    until,
    zipped,
)

pytestmark = pytest.mark.cloud


# The command.


def test_start_status_env_and_stop(shell: Shell) -> None:
    started = shell.json("local", "start")
    assert started["started"] is True
    assert started["endpoint"] == f"http://127.0.0.1:{started['port']}"
    assert shell.json("local", "start")["started"] is False
    state = str(shell.state)
    assert 'eval "$(scar local env)"\n' in shell.scar("local", "start").stdout
    assert (
        f'eval "$(scar local env --state {state})"\n' in shell.scar("local", "start", "--state", state).stdout
    )
    status = shell.json("local", "status")
    assert status["running"] is True
    assert status["functions"] == 0
    exports = shell.scar("local", "env").stdout
    shown = subprocess.run(
        ["sh", "-c", f'{exports}\necho "$AWS_ENDPOINT_URL|$AWS_REGION|${{AWS_PROFILE-none}}"'],
        env={"PATH": os.environ["PATH"], "AWS_PROFILE": "mine"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert shown == f"{started['endpoint']}|us-east-1|none"
    assert shell.processes()
    assert shell.json("local", "stop") == {"stopped": True}
    assert shell.processes() == []
    assert shell.json("local", "stop") == {"stopped": False}


def test_what_needs_a_running_cloud_says_so_with_exit_code_3(shell: Shell) -> None:
    done = shell.scar("local", "env")
    assert (done.returncode, done.stdout) == (3, "")
    assert "is not running" in done.stderr
    assert "Start it with `scar local start`." in done.stderr
    elsewhere = str(shell.state.with_name("another cloud"))
    done = shell.scar("local", "env", "--state", elsewhere)
    assert f"Start it with `scar local start --state '{elsewhere}'`." in done.stderr
    status = shell.scar("local", "status")
    assert status.returncode == 3
    assert "is not running" in status.stdout


def test_a_port_that_is_taken_is_named(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = shell.scar("local", "start", "--port", str(port))
    assert done.returncode == 2
    assert f"Port {port} is in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cloud_that_runs_otherwise_than_asked_for_says_so(shell: Shell) -> None:
    started = shell.json("local", "start")
    for option, said in (
        (["--region", "eu-west-1"], "in region us-east-1"),
        (["--parallel", "77"], f"with --parallel {started['parallel']}"),
        (["--port", "1"], f"on port {started['port']}"),
    ):
        done = shell.scar("local", "start", *option)
        assert done.returncode == 2
        assert (
            f"is already running {said}. To start it with other options, stop it first: scar local stop"
            in done.stderr
        )
    assert shell.scar("local", "start", "--port", str(started["port"])).returncode == 0


@pytest.mark.parametrize("verb", ["start", "status", "stop", "env", "reset --yes"])
def test_a_state_folder_that_cannot_be_is_no_traceback(shell: Shell, verb: str) -> None:
    shell.state.write_text("a file")
    done = shell.scar("local", *verb.split(), "--state", str(shell.state / "below"))
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--state", ""], "--state is an empty path"),
        (["--region", "us east"], "'us east' is not a region"),
        (["--state", "/proc/nothing"], "The state folder /proc/nothing cannot be used"),
    ],
)
def test_what_is_typed_wrong_is_said_in_one_line(shell: Shell, option: list[str], said: str) -> None:
    done = shell.scar("local", "start", *option)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert said in done.stderr


def test_an_upload_that_the_disk_has_no_room_for_is_refused(cloud: CloudUnderTest) -> None:
    """The emulator would say that all is well, and forget the object with the next start."""
    cloud.client("s3").create_bucket(Bucket="no-room")
    keys = cloud.running.credentials
    request = AWSRequest("PUT", f"{cloud.endpoint}/no-room/key")
    request.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    signer = SigV4Auth(Credentials(keys.access_key_id, keys.secret_access_key), "s3", cloud.running.region)
    signer.add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", cloud.running.port, timeout=30)
    connection.putrequest("PUT", "/no-room/key")
    for name, value in [*request.headers.items(), ("Content-Length", str(10**18))]:
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 400, "a status that no client tries again"
    assert b"<Code>DiskFull</Code>" in answer.read()
    connection.close()


def test_the_cloud_listens_on_loopback_alone(shell: Shell) -> None:
    started = shell.json("local", "start")
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, port = local.split(":")
            if state == "0A" and int(port, 16) == started["port"]:
                listening.add(address)
    assert listening == {"0100007F"}


def test_state_survives_a_restart_and_reset_empties_it(shell: Shell) -> None:
    first = shell.json("local", "start")
    shell.client("s3").create_bucket(Bucket="kept")
    shell.client("s3").put_object(Bucket="kept", Key="a b+c/ü.txt", Body=b"text", ContentType="text/x")
    shell.client("sqs").create_queue(QueueName="kept")
    shell.client("batch").create_compute_environment(
        computeEnvironmentName="kept",
        type="MANAGED",
        computeResources={"type": "FARGATE", "maxvCpus": 1, "subnets": ["subnet-1"]},
    )
    shell.scar("local", "stop")
    second = shell.json("local", "start")
    assert second["port"] == first["port"]
    kept = shell.client("s3").get_object(Bucket="kept", Key="a b+c/ü.txt")
    assert (kept["Body"].read(), kept["ContentType"]) == (b"text", "text/x")
    assert shell.client("sqs").list_queues()["QueueUrls"][0].endswith("/kept")
    environments = shell.client("batch").describe_compute_environments()["computeEnvironments"]
    assert [environment["computeEnvironmentName"] for environment in environments] == ["kept"]
    assert shell.scar("local", "reset").returncode == 2  # it would have to ask
    assert shell.scar("local", "reset", "--yes").returncode == 0
    shell.json("local", "start")
    assert [
        bucket["Name"] for bucket in shell.client("s3").list_buckets()["Buckets"] if bucket["Name"] == "kept"
    ] == []


def test_reset_and_start_refuse_a_folder_that_is_not_a_cloud(shell: Shell) -> None:
    shell.state.mkdir()
    (shell.state / "thesis.txt").write_text("years of work")
    for arguments in (("local", "reset", "--yes"), ("local", "start")):
        done = shell.scar(*arguments)
        assert done.returncode == 2
        assert "something other than the state" in done.stderr
    assert (shell.state / "thesis.txt").read_text() == "years of work"


def test_nobody_else_can_read_what_a_cloud_keeps(shell: Shell) -> None:
    shell.json("local", "start")
    shell.client("secretsmanager").create_secret(Name="secret", SecretString="of mine")
    shell.client("s3").create_bucket(Bucket="bucket")
    shell.json("local", "stop")
    kept = [shell.state, *shell.state.iterdir()]
    assert {path.name for path in kept} >= {"s3", "cloud.log", "last.json", "cloud-state"}
    assert [path for path in kept if path.stat().st_mode & 0o077] == []
    shell.state.chmod(0o755)  # as an earlier version has left it
    for path in shell.state.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    shell.json("local", "start")
    assert [path for path in [shell.state, *shell.state.iterdir()] if path.stat().st_mode & 0o077] == []


def test_two_starts_at_once_make_one_cloud(shell: Shell) -> None:
    environment = {**os.environ, "SCAR_LOCAL_STATE": str(shell.state)}
    starts = [
        subprocess.Popen(
            [*SCAR, "local", "start", "--json"], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    answers = [json.loads(start.communicate(timeout=120)[0]) for start in starts]
    assert len({answer["pid"] for answer in answers}) == 1
    assert sum(answer["started"] for answer in answers) == 1


# Nothing is left behind.


@pytest.fixture
def busy(shell: Shell) -> Shell:
    """A cloud with a Batch job and a function that both run, with children that try to get away."""
    shell.json("local", "start")
    escape = "(setsid sleep 1000 &) ; sleep 1000 & sleep 1000"
    name, _equals, value = shell.mark.partition("=")
    marked = {"environment": [{"name": name, "value": value}]}
    job_queue, definition = make_queue(shell, ["sh", "-c", escape], containerProperties=marked)
    shell.client("batch").submit_job(jobName="endless", jobQueue=job_queue, jobDefinition=definition)
    shell.client("lambda").create_function(
        FunctionName="endless",
        Runtime="python3.13",
        Role=any_role(shell),
        Handler="index.handle",
        Timeout=900,
        Code={"ZipFile": zipped(index__py=f"import os\ndef handle(e, c):\n    os.system({escape!r})\n")},
    )
    shell.client("lambda").invoke(FunctionName="endless", InvocationType="Event", Payload=b"{}")
    until(lambda: sleepers(shell), lambda found: len(found) == 6)
    return shell


def sleepers(shell: Shell) -> list[int]:
    found = []
    for process in shell.processes():
        try:
            name = Path(f"/proc/{process}/comm").read_text().strip()
        except OSError:
            continue
        if name == "sleep":
            found.append(process)
    return found


@pytest.mark.parametrize("victim", ["pid", "emulator_pid"])
def test_a_killed_cloud_leaves_nothing_running(busy: Shell, victim: str) -> None:
    running = json.loads((busy.state / "running.json").read_text())
    others = busy.processes()
    # A stopped supervisor has not noticed yet that its emulator has ended.
    os.kill(running["pid"], signal.SIGSTOP)
    os.kill(running[victim], signal.SIGKILL)
    notice = threading.Timer(2.0, os.kill, (running["pid"], signal.SIGCONT))
    if victim == "emulator_pid":
        notice.start()
    # It waits until the rest of the killed cloud has saved its state, and ignores its record.
    assert busy.json("local", "start")["started"] is True
    assert set(others) & set(busy.processes()) == set()
    assert busy.scar("local", "status").returncode == 0


def test_a_folder_of_an_earlier_version_says_what_to_do(shell: Shell) -> None:
    shell.json("local", "start")
    shell.scar("local", "stop")
    (shell.state / "services").mkdir(exist_ok=True)
    (shell.state / "services" / "sqs.json").write_text("{}")
    done = shell.scar("local", "start")
    assert done.returncode == 2
    assert "by an earlier version" in done.stderr
    assert "scar local reset" in done.stderr


def test_a_stopped_cloud_leaves_nothing_running(busy: Shell) -> None:
    busy.scar("local", "stop")
    assert busy.processes() == []


def test_a_tied_cloud_ends_with_the_process_that_started_it(shell: Shell) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from local_cloud.cloud import Cloud\n"
        "cloud = Cloud(Path(sys.argv[1])); cloud.start(tied=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    name, _equals, value = shell.mark.partition("=")
    subprocess.run(
        [sys.executable, "-c", program, str(shell.state)],
        env={**os.environ, name: value},
        timeout=60,
        check=False,
    )
    until(shell.processes, lambda left: left == [])


def test_a_function_that_times_out_leaves_nothing_running(cloud: CloudUnderTest, tmp_path: Path) -> None:
    record = tmp_path / "pids"
    source = (
        "import subprocess, time\n"
        "def handle(event, context):\n"
        "    commands = [['setsid', 'sleep', '1000'], ['sleep', '1000']]\n"
        "    pids = [subprocess.Popen(command).pid for command in commands]\n"
        f"    open({str(record)!r}, 'w').write(' '.join(map(str, pids)))\n"
        "    time.sleep(1000)\n"
    )
    make_function(cloud, "times-out", source, Timeout=1)
    answer = cloud.client("lambda").invoke(FunctionName="times-out", Payload=b"{}")
    assert b"timed out" in answer["Payload"].read()
    pids = [int(pid) for pid in record.read_text().split()]
    until(lambda: all(map(has_ended, pids)))


def test_the_bootstrap_is_as_the_cdk_expects_it(cloud: CloudUnderTest) -> None:
    version = cloud.client("ssm").get_parameter(Name="/cdk-bootstrap/hnb659fds/version")["Parameter"]["Value"]
    assert int(version) >= 30
    cloud.client("s3").head_bucket(Bucket="cdk-hnb659fds-assets-000000000000-us-east-1")
    role = "arn:aws:iam::000000000000:role/cdk-hnb659fds-deploy-role-000000000000-us-east-1"
    assert cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
