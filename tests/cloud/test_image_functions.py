"""Functions that are container images: what they see, what they may do, and how they end."""

from __future__ import annotations

import json
import os
import socket
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

from tests.cloud.ecr_images import (
    RUNTIME,
    ImageFunction,
    Pushed,
    login,
    make_image_function,
    push,
    shell_image,
    skopeo,
)
from tests.cloud.embedded import CloudUnderTest, until
from tests.oci_images import INDEX_TYPE, File, directory, index_of, push_manifest


@pytest.fixture(scope="module")
def image(cloud: CloudUnderTest) -> Pushed:
    return push(cloud, shell_image(File("secret", b"", 0o600), directory("var/task"), WorkingDir="/var/task"))


@pytest.fixture(scope="module")
def function(cloud: CloudUnderTest, image: Pushed) -> ImageFunction:
    return make_image_function(cloud, image.uri, variables={"GIVEN": "a b"}, MemorySize=256)


def test_an_environment_is_used_again(function: ImageFunction) -> None:
    first = function.run("echo $$; echo x >> /tmp/kept; cat /tmp/kept")
    second = function.run("echo $$; echo x >> /tmp/kept; cat /tmp/kept")
    assert second == first + "x\n"


def test_the_variables_name_the_log_stream_that_has_the_lines(cloud: CloudUnderTest, image: Pushed) -> None:
    group = f"/tests/{uuid.uuid4().hex}"
    function = make_image_function(cloud, image.uri, LoggingConfig={"LogGroup": group})
    text = 'echo "$AWS_LAMBDA_LOG_GROUP_NAME $AWS_LAMBDA_LOG_STREAM_NAME"; echo line of $number >&3'
    told = {function.run(f"number={number}; {text}").strip() for number in (1, 2)}
    (names,) = told  # one stream for one execution environment, as on AWS
    assert names.split()[0] == group
    events = cloud.client("logs").get_log_events(
        logGroupName=group, logStreamName=names.split()[1], startFromHead=True
    )["events"]
    assert [line for event in events if (line := event["message"]).startswith("line")] == [
        "line of 1",
        "line of 2",
    ]
    assert [event["message"].split()[0] for event in events].count("REPORT") == 2


def test_the_process_is_unprivileged_and_only_tmp_is_writable(function: ImageFunction) -> None:
    told = function.run(
        "id -u; id -g; for at in / /var/task /bin /etc /dev /dev/shm /run /home /proc/sys/kernel; do"
        " (echo x > $at/x) 2>/dev/null && echo writable $at; done; echo x > /tmp/x && echo tmp"
    )
    assert told.splitlines() == ["993", "990", "tmp"]


def test_tmp_has_the_size_of_the_ephemeral_storage(cloud: CloudUnderTest, image: Pushed) -> None:
    function = make_image_function(cloud, image.uri, EphemeralStorage={"Size": 512})
    told = function.run(
        "said=$(dd if=/dev/zero of=/tmp/big bs=1M count=600 2>&1); size=$(stat -c %s /tmp/big); rm /tmp/big;"
        " echo $size $said"
    )
    assert "No space left" in told
    assert 500 << 20 < int(told.split()[0]) <= 512 << 20


def test_nothing_of_the_host_is_seen(function: ImageFunction, tmp_path: Path) -> None:
    (tmp_path / "of-the-host").write_text("x")
    told = function.run(
        f"ls {tmp_path} {Path.cwd()} /home /root 2>/dev/null; ls -d /proc/[0-9]* | wc -l; ls /tmp; env"
    )
    assert "of-the-host" not in told
    processes, *_ = told.splitlines()
    assert int(processes) < 10
    assert not any(line.startswith(("SCAR_", "PYTEST", "HOSTNAME")) for line in told.splitlines())


def test_of_this_machines_network_only_the_cloud_is_reached(function: ImageFunction) -> None:
    endpoint = function.cloud.endpoint.removeprefix("http://")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = function.run(
            f"wget -q -O - http://{endpoint}/ 2>&1 | grep -o Forbidden;"  # it is not signed
            f" wget -q -O - http://127.0.0.1:{port}/ 2>&1 | grep -o refused"
        )
    assert told == "Forbidden\nrefused\n"


def test_the_environment_is_lambdas_above_the_images(function: ImageFunction) -> None:
    lines = function.run("env; echo PWD-IS=$(pwd)").splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    assert told["AWS_LAMBDA_FUNCTION_NAME"] == function.name
    assert told["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert told["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert told["AWS_LAMBDA_LOG_GROUP_NAME"] == f"/aws/lambda/{function.name}"
    assert told["LAMBDA_TASK_ROOT"] == "/var/task"
    assert told["AWS_REGION"] == told["AWS_DEFAULT_REGION"] == "us-east-1"
    assert told["AWS_ENDPOINT_URL"] == function.cloud.endpoint
    assert told["AWS_ACCESS_KEY_ID"] and told["AWS_SECRET_ACCESS_KEY"]
    assert (told["OF_THE_IMAGE"], told["GIVEN"], told["PATH"], told["TZ"]) == ("yes", "a b", "/bin", ":UTC")
    assert told["PWD-IS"] == "/var/task"


def test_the_image_config_of_a_function_wins(cloud: CloudUnderTest, image: Pushed) -> None:
    function = make_image_function(
        cloud,
        image.uri,
        ImageConfig={
            "EntryPoint": ["/bin/sh", "-c"],
            "Command": ["FROM_COMMAND=yes exec /runtime"],
            "WorkingDirectory": "/etc",
        },
    )
    assert function.run("pwd; env | grep FROM_COMMAND") == "/etc\nFROM_COMMAND=yes\n"
    cloud.client("lambda").update_function_configuration(
        FunctionName=function.name, ImageConfig={"WorkingDirectory": "/bin"}
    )
    assert function.run("pwd") == "/bin\n"


def test_a_function_that_takes_too_long_is_killed(cloud: CloudUnderTest, image: Pushed) -> None:
    function = make_image_function(cloud, image.uri, Timeout=1)
    before = function.run("echo $$ > /tmp/first; cat /tmp/first")
    number = 100_000 + os.getpid()
    error = function.error(f"echo begins; (sleep {number} &) ; sleep {number}")
    assert error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert not _running(f"sleep\0{number}")
    assert function.run("cat /tmp/first 2>/dev/null || echo a new environment") != before


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("exit 3", "Runtime exited with error: exit status 3"),
        ("exit 0", "Runtime exited without providing a reason"),
        ("kill -9 $$", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_runtime_that_ends_fails_the_invocation(function: ImageFunction, ending: str, told: str) -> None:
    answer = function.invoke(f"echo last words >&3; {ending}")
    error = json.loads(answer["Payload"])
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].startswith("RequestId: ") and error["errorMessage"].endswith(told)
    assert "last words" in answer["Log"] and told in answer["Log"]
    assert function.run("echo works again") == "works again\n"


def test_all_that_an_invocation_writes_is_in_its_own_log(cloud: CloudUnderTest) -> None:
    chatty = RUNTIME.replace("  . /tmp/.run >/tmp/.output 2>&1\n", "  . /tmp/.run\n  echo -n >/tmp/.output\n")
    function = make_image_function(cloud, push(cloud, shell_image(runtime=chatty)).uri)
    for number in range(5):
        log = function.invoke(f"i=0; while [ $i -lt 200 ]; do echo line-{number}-$i; i=$((i+1)); done")["Log"]
        lines = [line for line in log.splitlines() if line.startswith("line-")]
        assert lines[-1] == f"line-{number}-199"
        assert all(line.startswith(f"line-{number}-") for line in lines)


def test_an_error_at_the_start_is_the_invocations(cloud: CloudUnderTest, image: Pushed) -> None:
    exits = make_image_function(cloud, image.uri, variables={"AT_START": "echo no use; exit 5"})
    error = exits.error("")
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith("exit status 5")
    reports = """body='{"errorType":"Init.Bad","errorMessage":"bad start"}'
        wget -q -O /dev/null --post-data="$body" "$api/init/error"; exit 1"""
    says = make_image_function(cloud, image.uri, variables={"AT_START": reports})
    assert says.error("") == {"errorType": "Init.Bad", "errorMessage": "bad start"}


def test_an_answer_has_six_megabytes_at_most(function: ImageFunction) -> None:
    fits, too_large = (6 << 20) // 4 * 3 - 1000, (6 << 20) // 4 * 3 + 1000
    assert len(function.run(f"dd if=/dev/zero bs={fits} count=1 2>/dev/null")) == fits
    error = function.error(f"dd if=/dev/zero bs={too_large} count=1 2>/dev/null")
    assert error["errorType"] == "Function.ResponseSizeTooLarge"


def test_a_page_in_a_browser_cannot_take_events(function: ImageFunction) -> None:
    address = function.run("echo $AWS_LAMBDA_RUNTIME_API").strip()
    for header in ({"Origin": "http://example.org"}, {"Sec-Fetch-Site": "cross-site"}):
        url = f"http://{address}/2018-06-01/runtime/invocation/next"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                urllib.request.Request(url, headers=header), timeout=10
            )
    assert function.run("echo works") == "works\n"


def test_an_entry_point_that_is_missing_is_named(cloud: CloudUnderTest, image: Pushed) -> None:
    function = make_image_function(cloud, image.uri, ImageConfig={"EntryPoint": ["/no/such"]})
    error = function.error("")
    assert error["errorType"] == "Runtime.InvalidEntrypoint"
    assert "/no/such" in error["errorMessage"]


def test_a_tag_is_resolved_when_the_code_is_set(cloud: CloudUnderTest, image: Pushed) -> None:
    api = cloud.client("lambda")
    moving = push(cloud, shell_image(File("version", b"1")), "moving")
    function = make_image_function(cloud, moving.uri)
    assert function.run("cat /version") == "1"
    second = push(cloud, shell_image(File("version", b"2")), "moving", moving.repository)
    code = api.get_function(FunctionName=function.name)
    assert code["Code"]["ResolvedImageUri"] == moving.by_digest
    assert code["Configuration"]["CodeSha256"] == moving.digest.removeprefix("sha256:")
    assert function.run("cat /version") == "1"
    api.update_function_code(FunctionName=function.name, ImageUri=moving.uri)
    assert api.get_function(FunctionName=function.name)["Code"]["ResolvedImageUri"] == second.by_digest
    assert function.run("cat /version") == "2"


def test_images_that_lambda_rejects_are_rejected(cloud: CloudUnderTest, image: Pushed) -> None:
    api = cloud.client("lambda")
    host, password = login(cloud)
    manifest = cloud.client("ecr").batch_get_image(
        repositoryName=image.repository, imageIds=[{"imageDigest": image.digest}]
    )["images"][0]["imageManifest"]
    index = index_of([(manifest.encode(), {"os": "linux", "architecture": "amd64"})])
    push_manifest(f"http://AWS:{password}@{host}", image.repository, "index", index, INDEX_TYPE)
    base = image.uri.rpartition(":")[0]
    for uri, why in {
        f"{base}:missing": f"Source image {base}:missing does not exist. Provide a valid source image.",
        "docker.io/library/busybox": "Source image docker.io/library/busybox is not valid.",
        f"{base}:index": f"media type for the source image {base}:index is not supported.",
    }.items():
        with pytest.raises(api.exceptions.InvalidParameterValueException, match=why):
            make_image_function(cloud, uri)


def test_deleting_a_function_ends_its_environments(cloud: CloudUnderTest, image: Pushed) -> None:
    mark = uuid.uuid4().hex
    function = make_image_function(cloud, image.uri, variables={"MARK": mark})
    function.run("true")
    assert _running(f"MARK={mark}", "environ")
    cloud.client("lambda").delete_function(FunctionName=function.name)
    until(lambda: _running(f"MARK={mark}", "environ"), lambda left: not left)


def test_skopeo_inspects_what_it_pushed(cloud: CloudUnderTest, image: Pushed) -> None:
    host, password = login(cloud)
    done = skopeo(
        "inspect", "--tls-verify=false", f"--creds=AWS:{password}", f"docker://{host}/{image.repository}:v1"
    )
    assert json.loads(done.stdout)["Digest"] == image.digest


def _running(text: str, file: str = "cmdline") -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                content = (folder / file).read_bytes()
            except OSError:
                continue
            if text.encode() in content:
                found.append(folder.name)
    return found
