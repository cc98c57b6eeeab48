"""The entry point of Lambda, with a real S3, a real image and whatever engine works on this machine."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from containers import aws
from runtime import delegation, handler, memory
from runtime.config import StorageFolder
from runtime.delegation import event_of_job
from runtime.environment import input_folder
from runtime.errors import InvocationError
from runtime.events import http_async
from runtime.storage.contract import StoredObject
from tests import oci_images
from tests.static_programs import CONNECT, compiled
from tests.unit.runtime.conftest import BatchApi, Function
from tests.unit.runtime.event_shapes import event_bridge, rest_request, s3_event, sqs

COPY = '#!/bin/sh\ncat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/copy of ${INPUT_FILE_PATH##*/}"\n'

LogLines = Callable[[], list[dict[str, Any]]]


@pytest.mark.parametrize(
    "name", ["a b+c.jpg", "ü/ñ.png", "100%.txt", "x'\"$(id).txt", "-rf", "new\nline", "../up"]
)
def test_object_of_any_name_is_processed(name: str, function: Function) -> None:
    function.deploy(COPY)
    function.bucket.put(f"in/{name}", b"hello")
    answer = function.invoke(s3_event(function.bucket.name, f"in/{name}"))
    base_name = name.rpartition("/")[2]
    assert function.bucket.get(f"out/copy of {base_name}") == b"hello"
    assert answer["results"][0]["uploaded"] == [f"s3://{function.bucket.name}/out/copy of {base_name}"]
    assert function.leftovers() == []


def test_every_user_of_the_image_may_read_the_input(function: Function) -> None:
    function.deploy('#!/bin/sh\nls -l "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/listed"\n')
    before = os.umask(0o077)
    try:
        function.invoke(s3_event(function.bucket.name, function.bucket.put("in/a")))
    finally:
        os.umask(before)
    assert function.bucket.get("out/listed").startswith(b"-rw-r--r-- ")


@pytest.mark.parametrize(("name", "on_disk"), [("x" * 300 + ".jpg", "x" * 251 + ".jpg"), ("..", "input")])
def test_name_that_no_file_can_have_is_changed_and_the_key_is_not(
    name: str, on_disk: str, function: Function
) -> None:
    function.deploy(
        '#!/bin/sh\ntest -s "$INPUT_FILE_PATH" || exit 1\n'
        'echo "${INPUT_FILE_PATH##*/}" "$STORAGE_OBJECT_KEY" > "$TMP_OUTPUT_DIR/told"\n'
    )
    function.bucket.put(f"in/{name}")
    function.invoke(s3_event(function.bucket.name, f"in/{name}"))
    assert function.bucket.get("out/told").decode() == f"{on_disk} in/{name}\n"


def test_inputs_of_the_same_name_keep_their_folders_in_the_output(function: Function) -> None:
    function.deploy(
        '#!/bin/sh\nset -e\nmkdir -p "$TMP_OUTPUT_DIR/$SCAR_INPUT_FOLDER"\n'
        'cat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/$SCAR_INPUT_FOLDER/x.txt"\n'
    )
    keys = ["in/x.txt", "in/a/x.txt", "in/a/ü b/x.txt", "in/../../x.txt"]
    for key in keys:
        function.bucket.put(key, key.encode())
    function.invoke(s3_event(function.bucket.name, *keys))
    assert {key: function.bucket.get(key).decode() for key in function.bucket.keys("out/")} == {
        "out/x.txt": "in/x.txt",
        "out/a/x.txt": "in/a/x.txt",
        "out/a/ü b/x.txt": "in/a/ü b/x.txt",
        "out/input/input/x.txt": "in/../../x.txt",
    }


@pytest.mark.parametrize(
    ("folders", "key", "expected"),
    [
        (("",), "a/b/x", "a/b"),
        (("in",), "in/x", ""),
        (("in", "in/sub"), "in/sub/a/x", "a"),
        (("in/sub", "in"), "in/sub/a/x", "a"),
        (("in",), "in//x", "input"),
        (("in",), f"in/{'n' * 300}/x", "n" * 255),
    ],
)
def test_input_folder_is_below_the_innermost_input(folders: tuple[str, ...], key: str, expected: str) -> None:
    inputs = [StorageFolder("s3", "bucket", folder) for folder in folders]
    others = [StorageFolder("s3", "other", "in/sub/a"), StorageFolder("minio.lab", "bucket", "in/sub/a")]
    assert input_folder(StoredObject("bucket", key), [*inputs, *others]) == expected


def test_event_bridge_starts_the_same_run(function: Function) -> None:
    function.deploy(COPY)
    function.bucket.put("in/a+b c", b"hello")
    function.invoke(event_bridge(function.bucket.name, "in/a+b c"))
    assert function.bucket.get("out/copy of a+b c") == b"hello"


def test_environment_of_the_script_is_the_contracts_and_nothing_else(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAK", "x")
    monkeypatch.setenv("CONT_VAR_COLOR", "red")
    monkeypatch.setenv("CONT_VAR_BOTH", "function")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    function.deploy(
        '#!/bin/sh\ncd "$TMP_OUTPUT_DIR"; env -0 > env; echo "$OLDPWD" > pwd; ls -A "$TMP_INPUT_DIR" > ls\n',
        container_environment={"FROM_IMAGE": "fdl", "MINE": "a=b\nc"},
    )
    function.bucket.put("in/ü x.txt")
    event = s3_event(function.bucket.name, "in/ü x.txt")
    function.invoke(event)
    content = function.bucket.get("out/env").decode().rstrip("\0").split("\0")
    found = dict(entry.split("=", 1) for entry in content)
    assert json.loads(found.pop("EVENT")) == {"Records": [event["Records"][0]]}
    assert found.pop("INPUT_FILE_PATH") == found["TMP_INPUT_DIR"] + "/ü x.txt"
    folders = {Path(found.pop(name)).parent for name in ("TMP_INPUT_DIR", "TMP_OUTPUT_DIR", "TMPDIR")}
    assert len(folders) == 1
    assert socket.inet_aton(found.pop("INSTANCE_IP"))
    for shells_own in ("PWD", "SHLVL", "_", "OLDPWD"):
        found.pop(shells_own, None)
    assert found == {
        "PATH": "/usr/bin:/bin",
        "HOME": "/root",
        "STORAGE_OBJECT_KEY": "in/ü x.txt",
        "SCAR_INPUT_FOLDER": "",
        "EVENT_TIME": "2026-11-22T08:00:00.000Z",
        "REQUEST_ID": "request-1",
        "AWS_LAMBDA_REQUEST_ID": "request-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_SESSION_TOKEN": "token",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
        "COLOR": "red",
        "BOTH": "function",
        "FROM_IMAGE": "fdl",
        "MINE": "a=b\nc",
    }
    assert function.bucket.get("out/pwd") == b"/tmp\n"
    assert function.bucket.get("out/ls").decode() == "ü x.txt\n"


def test_every_stage_writes_a_line_and_the_whole_a_summary(
    function: Function, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler._here, "cold", True)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
    function.deploy(COPY, container_environment={"PASSWORD": "pa55word"})
    function.bucket.put("in/a", b"hello")
    for cold in (True, False):
        function.invoke(s3_event(function.bucket.name, "in/a"))
        lines = log_lines()
        stages = [line["stage"] for line in lines if line["message"] == "stage"]
        assert stages == ["stage-in", "image", "run", "stage-out", "result"]
        (summary,) = (line for line in lines if line["message"] == "summary")
        assert (summary["status"], summary["cold"]) == ("done", cold)
        assert (summary["input_bytes"], summary["output_bytes"], summary["output_files"]) == (5, 5, 1)
        assert summary["total_ms"] > 0
        assert (summary["mode"], summary["exit_code"]) == ("lambda", 0)
        assert summary["memory_limit_bytes"] == 1769 << 20
        assert summary["outputs"] == [f"s3://{function.bucket.name}/out/copy of a"]
        times = ("stage_in_ms", "image_ms", "run_ms", "stage_out_ms")
        assert sum(summary[name] for name in times) <= summary["total_ms"] + len(times)
        assert summary["queued_ms"] > 0
        assert summary["cpu_ms"] > 0
        assert ("init_ms" in summary) is cold
        assert None not in summary.values()
        assert all(line["request_id"] == "request-1" for line in lines)
        assert "s3cr3t" not in str(lines)
        assert "pa55word" not in str(lines)
    assert summary["image_cached"] is True


@pytest.mark.parametrize(("level", "written"), [("INFO", True), ("ERROR", False)])
def test_log_level_of_the_function_says_what_is_written(
    level: str, written: bool, function: Function, log_lines: LogLines
) -> None:
    function.deploy(COPY, log_level=level)
    function.bucket.put("in/a", b"x")
    function.invoke(s3_event(function.bucket.name, "in/a"))
    assert bool(log_lines()) is written


def test_failed_script_fails_the_invocation_and_uploads_nothing(
    function: Function, log_lines: LogLines
) -> None:
    function.deploy("#!/bin/sh\necho half > $TMP_OUTPUT_DIR/half\necho it broke >&2\nexit 3\n")
    function.bucket.put("in/a")
    with pytest.raises(InvocationError) as caught:
        function.invoke(s3_event(function.bucket.name, "in/a"))
    for part in (f"s3://{function.bucket.name}/in/a", "exited with code 3", "it broke", "request-1"):
        assert part in str(caught.value)
    assert function.bucket.keys("out/") == []
    assert function.leftovers() == []
    (summary,) = (line for line in log_lines() if line["message"] == "summary")
    assert (summary["status"], summary["exit_code"], summary["kind"]) == ("failed", 3, "ScriptFailed")
    assert {"stage_in_ms", "run_ms", "cpu_ms"} < summary.keys()
    assert not {"stage_out_ms", "outputs", "signal"} & summary.keys()


def test_run_that_is_killed_uploads_nothing_and_its_retry_once(function: Function, tmp_path: Path) -> None:
    function.deploy('#!/bin/sh\necho out > $TMP_OUTPUT_DIR/x\n[ "$REQUEST_ID" = request-2 ] || kill -9 $$\n')
    function.bucket.put("in/a")
    event = s3_event(function.bucket.name, "in/a")
    with pytest.raises(InvocationError, match=r"signal 9|exited with code 137"):
        function.invoke(event)
    assert function.bucket.keys("out/") == []
    handler.handle(
        event,
        type(
            "Context", (), {"aws_request_id": "request-2", "get_remaining_time_in_millis": lambda _: 60000}
        )(),
    )
    assert function.bucket.keys("out/") == ["out/x"]


def test_all_records_are_tried_before_a_failed_one_fails_the_event(function: Function) -> None:
    function.deploy(
        "#!/bin/sh\ncase $INPUT_FILE_PATH in */bad) exit 1;; esac\n"
        'touch "$TMP_OUTPUT_DIR/${INPUT_FILE_PATH##*/}"\n'
    )
    for name in ("bad", "good"):
        function.bucket.put(f"in/{name}")
    with pytest.raises(InvocationError) as caught:
        function.invoke(s3_event(function.bucket.name, "in/bad", "in/good", "in/gone"))
    assert function.bucket.keys("out/") == ["out/good"]
    assert "in/good" not in str(caught.value)
    assert "in/gone does not exist" in str(caught.value)


def test_queue_is_told_which_messages_failed(function: Function) -> None:
    function.deploy("#!/bin/sh\ncase $INPUT_FILE_PATH in */bad) exit 1;; esac\n")
    for name in ("bad", "good"):
        function.bucket.put(f"in/{name}")
    name = function.bucket.name
    batch = sqs(s3_event(name, "in/good"), s3_event(name, "in/bad"), "rubbish", s3_event(name, "in/"))
    assert function.invoke(batch) == {
        "batchItemFailures": [{"itemIdentifier": "m2"}, {"itemIdentifier": "m1"}]
    }


def test_time_that_is_up_kills_the_container(function: Function) -> None:
    function.deploy("#!/bin/sh\necho started\ntouch $TMP_OUTPUT_DIR/x\nsleep 60\n")
    function.bucket.put("in/a")
    with pytest.raises(InvocationError, match=r"TimedOut.*[\s\S]*started"):
        function.invoke(s3_event(function.bucket.name, "in/a"), remaining_ms=6500)
    assert function.bucket.keys("out/") == []
    assert function.leftovers() == []


def test_time_that_is_kept_back_for_outputs_is_none_to_run_in(function: Function) -> None:
    function.deploy(COPY, timeout_s=900, timeout_threshold_s=59)
    function.bucket.put("in/a")
    with pytest.raises(InvocationError, match="TimedOut"):
        function.invoke(s3_event(function.bucket.name, "in/a"), remaining_ms=59_000)
    function.invoke(s3_event(function.bucket.name, "in/a"), remaining_ms=900_000)
    assert function.bucket.keys("out/") != []


def test_registry_that_hangs_does_not_outlast_the_deadline(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    function.deploy(COPY)
    function.bucket.put("in/a")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("SCAR_REGISTRY_MIRRORS", f"docker.io=http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(InvocationError, match="TimedOut"):
            function.invoke(s3_event(function.bucket.name, "in/a"), remaining_ms=5700)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_lambda_batch_hands_over_to_batch_when_time_is_up(function: Function, batch_api: BatchApi) -> None:
    function.deploy(
        "#!/bin/sh\nsleep 60\n", execution_mode="lambda-batch", batch={"timeout_s": 600, "attempts": 2}
    )
    function.bucket.put("in/a b")
    event = s3_event(function.bucket.name, "in/a b")
    answer = function.invoke(event, remaining_ms=5800)
    assert answer["results"] == [
        {"subject": f"s3://{function.bucket.name}/in/a b", "status": "delegated", "job_id": "job-1"}
    ]
    assert json.loads(batch_api.environment()["SCAR_EVENT"]) == event


def test_lambda_batch_hands_over_to_batch_when_memory_runs_out(
    function: Function, batch_api: BatchApi, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    # AWS Lambda shows no counter: a script that is killed there has run out of memory.
    monkeypatch.setattr(memory, "_COUNTERS", ())
    function.deploy(
        "#!/bin/sh\nkill -9 $$\n", execution_mode="lambda-batch", batch={"timeout_s": 600, "attempts": 2}
    )
    function.bucket.put("in/a")
    (result,) = function.invoke(s3_event(function.bucket.name, "in/a"))["results"]
    assert (result["status"], result["job_id"]) == ("delegated", "job-1")
    (summary,) = (line for line in log_lines() if line["message"] == "summary")
    assert (summary["status"], summary["reason"]) == ("delegated", "OutOfMemory")


def test_a_job_on_several_nodes_is_submitted_with_the_event_for_each_node(
    function: Function, batch_api: BatchApi
) -> None:
    batch = {"timeout_s": 600, "attempts": 2, "multi_node": True}
    function.deploy(COPY, execution_mode="batch", batch=batch)
    event = s3_event(function.bucket.name, "in/a")
    function.invoke(event)
    (request,) = batch_api.requests
    assert "containerOverrides" not in request
    (nodes,) = request["nodeOverrides"]["nodePropertyOverrides"]
    (variable,) = nodes["containerOverrides"]["environment"]
    assert (nodes["targetNodes"], json.loads(variable["value"])) == ("0:", event)


def test_lambda_batch_does_not_hand_over_a_failure(function: Function, batch_api: BatchApi) -> None:
    function.deploy(
        "#!/bin/sh\nexit 1\n", execution_mode="lambda-batch", batch={"timeout_s": 600, "attempts": 2}
    )
    function.bucket.put("in/a")
    with pytest.raises(InvocationError, match="exited with code 1"):
        function.invoke(s3_event(function.bucket.name, "in/a"))
    assert batch_api.requests == []


def test_object_larger_than_the_disk_fails_before_it_is_fetched(function: Function) -> None:
    function.deploy(COPY)
    with pytest.raises(InvocationError, match=r"DiskFull: The input s3://.*/in/a needs .* MiB free"):
        function.invoke(s3_event(function.bucket.name, "in/a", size=1 << 50))


def test_empty_object_is_skipped_even_if_the_event_has_no_size(
    function: Function, log_lines: LogLines
) -> None:
    function.deploy("#!/bin/sh\ntouch $TMP_OUTPUT_DIR/x\n")
    function.bucket.put("in/empty", b"")
    answer = function.invoke(s3_event(function.bucket.name, "in/empty", size=None))
    assert answer["results"][0]["status"] == "skipped"
    assert function.bucket.keys("out/") == []
    assert any("empty (0 bytes)" in line.get("reason", "") for line in log_lines())


def test_marker_is_acknowledged_with_the_reason(function: Function, log_lines: LogLines) -> None:
    function.deploy("#!/bin/sh\nexit 1\n")
    answer = function.invoke(s3_event(function.bucket.name, "in/"))
    assert answer["results"] == []
    assert "folder markers" in answer["skipped"][0]["reason"]
    assert [line["message"] for line in log_lines()] == ["skipped"]


def test_direct_call_runs_the_images_own_command(function: Function) -> None:
    function.deploy()
    assert function.invoke({})["results"][0]["output"] == "entry command"


def test_arguments_of_a_direct_call_follow_the_entry_point(function: Function) -> None:
    function.deploy("#!/bin/sh\necho init script\n")
    assert function.invoke({"cmd_args": ["-n", "a b"]})["results"][0]["output"] == "entry -n a b"
    assert function.invoke({})["results"][0]["output"] == "init script"


def test_script_of_a_direct_call_goes_before_the_functions_own(function: Function) -> None:
    function.deploy("#!/bin/sh\nexit 1\n")
    script = base64.b64encode(b'#!/usr/bin/env -S sh -e\r\necho "hi $1 $EVENT"\r\n').decode()
    answer = function.invoke({"script": script, "cmd_args": ["there"], "x": 1})
    assert answer["results"][0]["output"].startswith('hi there {"script":')


def test_nothing_of_one_invocation_is_seen_by_the_next(function: Function) -> None:
    function.deploy(
        "#!/bin/sh\nls $TMP_OUTPUT_DIR $TMP_INPUT_DIR /tmp\n"
        "for folder in $TMP_OUTPUT_DIR $TMP_INPUT_DIR /tmp; do echo > $folder/mine; done\n"
    )
    for _ in range(2):
        assert "mine" not in function.invoke({})["results"][0]["output"].split()
    assert function.leftovers() == []


def test_image_comes_from_an_archive_in_the_bucket(
    function: Function, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = oci_images.Image([oci_images.host_shell_layer()], {"Cmd": ["/bin/echo", "from an archive"]})
    archive = oci_images.docker_save(tmp_path / "image.tar", image)
    function.bucket.put("image.tar", archive.read_bytes())
    monkeypatch.setenv("SCAR_IMAGE_FILE", f"s3://{function.bucket.name}/image.tar")
    function.deploy(image=None)
    assert function.invoke({})["results"][0]["output"] == "from an archive"


def test_extra_payload_is_in_the_container(function: Function) -> None:
    (function.folder / "extra").mkdir(parents=True)
    (function.folder / "extra/model").write_text("weights")
    function.deploy("#!/bin/sh\ncat $EXTRA_PAYLOAD/model\n", extra_payload="extra")
    assert function.invoke({})["results"][0]["output"] == "weights"


def test_mounted_file_systems_are_in_the_container(function: Function, tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted/model").write_text("weights")
    there = str(tmp_path / "mounted")
    function.deploy(f"#!/bin/sh\ncat {there}/model\n", file_systems=[there, str(tmp_path / "absent")])
    assert function.invoke({})["results"][0]["output"] == "weights"


def test_owners_and_modes_change_in_the_folder_of_the_run_alone(function: Function, tmp_path: Path) -> None:
    for folder in (tmp_path / "mounted", function.folder / "extra"):
        folder.mkdir(parents=True)
        (folder / "open").write_text("for all")
        (folder / "private").write_text("for its owner")
        (folder / "private").chmod(0o600)
        folder.chmod(0o777)
    function.deploy(
        f"#!/bin/sh\ncd {tmp_path}/mounted && cat open private; touch made\n"
        'cd "$EXTRA_PAYLOAD" && cat open private; touch made; echo planted > open\n'
        'id -u > "$TMP_OUTPUT_DIR/who"\n',
        image="test/shell:worker",
        file_systems=[str(tmp_path / "mounted")],
        extra_payload="extra",
    )
    output = function.invoke({})["results"][0]["output"]
    assert function.bucket.get("out/who") == b"1234\n"
    assert output.count("for all") == 2
    assert output.count("Read-only file system") == 2
    places = [tmp_path / "mounted", function.folder / "extra"]
    owners = {path.stat().st_uid for place in places for path in (place, place / "open", place / "private")}
    assert owners == {os.geteuid()}
    assert (tmp_path / "mounted/made").exists()
    assert (function.folder / "extra/open").read_text() == "for all"
    if os.geteuid() == 0:
        assert "for its owner" not in output
        assert (tmp_path / "mounted/made").stat().st_uid == 1234


def test_of_this_machine_a_container_reaches_the_endpoint_alone(
    function: Function, log_lines: LogLines
) -> None:
    function.bucket.put("in/program", compiled(CONNECT))
    other = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0{function.bucket.name}")
    abstract.listen()
    port = other.getsockname()[1]
    endpoint = int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2])
    with other, abstract:
        function.deploy(
            '#!/bin/sh\ncat "$INPUT_FILE_PATH" > /tmp/connect; chmod +x /tmp/connect\n'
            f"/tmp/connect 127.0.0.1 {port} abstract {function.bucket.name} 127.0.0.1 {endpoint} "
            '> "$TMP_OUTPUT_DIR/tried"\n'
        )
        function.invoke(s3_event(function.bucket.name, "in/program"))
    output = function.bucket.get("out/tried").decode()
    (network,) = [line["network"] for line in log_lines() if line.get("stage") == "run"]
    if network.startswith("shared"):
        pytest.skip(network)
    assert output.splitlines() == [
        f"127.0.0.1 {port}: Connection refused",
        f"{function.bucket.name}: Connection refused",
        f"{endpoint}: HTTP/1.1",
    ]


def test_http_request_is_answered_with_standard_output(function: Function) -> None:
    function.deploy('#!/bin/sh\necho noise >&2\nprintf "%s:" "$color"; cat "$INPUT_FILE_PATH"\n')
    answer = function.invoke(rest_request("POST", "höla", {"color": "red"}))
    assert (answer["statusCode"], answer["body"], answer["isBase64Encoded"]) == (200, "red:höla", False)
    answer = function.invoke(rest_request("POST", base64.b64encode(b"\x00\xff").decode(), in_base64=True))
    assert base64.b64decode(answer["body"]) == b":\x00\xff"
    assert answer["isBase64Encoded"] is True


def test_failed_http_request_is_answered_with_an_error_and_no_output(function: Function) -> None:
    function.deploy("#!/bin/sh\necho internal\nexit 4\n", container_environment={"COLOR": "mine"})
    answer = function.invoke(rest_request())
    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["error"], body["request_id"]) == (500, "ScriptFailed", "request-1")
    assert "exited with code 4" in body["message"]
    assert "internal" not in body["message"]
    assert function.invoke(rest_request("PATCH"))["statusCode"] == 405
    assert function.invoke(rest_request("GET", None, {"LD_PRELOAD": "x"}))["statusCode"] == 400


def test_request_that_nobody_waits_for_fails_like_an_event(
    function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    event = {
        **rest_request("GET", None, {"code": "0"}),
        "headers": {"X-Amz-Invocation-Type": "Event"},
        http_async.MARK: True,
    }
    function.deploy("#!/bin/sh\necho said\nexit $code\n")
    assert function.invoke(event)["statusCode"] == 200
    assert "said" in capsys.readouterr().out.splitlines()
    with pytest.raises(InvocationError, match="exited with code 3"):
        function.invoke({**event, "multiValueQueryStringParameters": {"code": ["3"]}})
    with pytest.raises(InvocationError, match="BadRequest"):
        function.invoke({**event, "multiValueQueryStringParameters": {"PATH": ["/"]}})


def test_preheating_fetches_the_image_and_runs_nothing(function: Function, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    function.deploy(f"#!/bin/sh\ntouch {witness}\n", file_systems=[str(tmp_path)])
    answer = function.invoke({"preheat": True})
    assert answer["status"] == "ok"
    assert "image_cached" in answer
    assert not witness.exists()
    function.deploy(image="test/absent")
    with pytest.raises(InvocationError, match="test/absent"):
        function.invoke({"preheat": True})


def asynchronous(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "headers": {"x-amz-invocation-type": "Event"}}


def test_request_that_nobody_waits_for_is_handed_on_to_the_function_itself(
    function: Function, aws_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"itself-{tmp_path.name}"
    seen = tmp_path / "seen"
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr(
            "index.py",
            f"def handle(event, context): open({str(seen)!r}, 'a').write(__import__('json').dumps(event))",
        )
    aws.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/any",
        Handler="index.handle",
        Code={"ZipFile": code.getvalue()},
    )
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", name)
    function.deploy("#!/bin/sh\nexit 1\n")
    event = asynchronous(rest_request("POST", "höla", {"color": "red"}))
    answer = function.invoke(event)
    assert answer["statusCode"] == 202
    assert set(json.loads(answer["body"])) == {"request_id"}
    until = time.monotonic() + 30
    while not (seen.exists() and seen.read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert json.loads(seen.read_text()) == {**event, http_async.MARK: True}


def test_bad_request_is_refused_before_it_is_handed_on(function: Function) -> None:
    function.deploy("#!/bin/sh\n")
    answer = function.invoke(asynchronous(rest_request("GET", None, {"PATH": "/"})))
    assert (answer["statusCode"], json.loads(answer["body"])["error"]) == (400, "BadRequest")


def test_function_that_may_not_invoke_itself_says_so(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "there-is-no-such-function")
    function.deploy("#!/bin/sh\n")
    answer = function.invoke(asynchronous(rest_request()))
    assert answer["statusCode"] == 500
    assert "lambda:InvokeFunction" in json.loads(answer["body"])["message"]


def test_slow_request_is_answered_before_the_gateway_gives_up(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_async, "GATEWAY_WAITS_S", 3.0)
    function.deploy("#!/bin/sh\nsleep 60\n")
    event = rest_request()
    event["requestContext"] |= {"apiId": "a1", "requestTimeEpoch": int(time.time() * 1000)}
    began = time.monotonic()
    answer = function.invoke(event)
    assert time.monotonic() - began < 2.9
    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["error"]) == (504, "TimedOut")
    assert "X-Amz-Invocation-Type: Event" in body["message"]


def test_query_parameter_overrides_neither_the_image_nor_the_owner(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONT_VAR_WIDTH", "mine too")
    function.deploy(
        "#!/bin/sh\necho $FROM_IMAGE $COLOR $WIDTH $height\n", container_environment={"COLOR": "mine"}
    )
    parameters = dict.fromkeys(("FROM_IMAGE", "COLOR", "WIDTH", "height"), "theirs")
    answer = function.invoke(rest_request("GET", None, parameters))
    assert answer["body"] == "image mine mine too theirs\n"


def test_batch_mode_submits_each_object_and_runs_nothing(function: Function, batch_api: BatchApi) -> None:
    function.deploy(COPY, execution_mode="batch", batch={"timeout_s": 600, "attempts": 2})
    names = ["in/a b+c.jpg", "in/" + "ü" * 200, "in/"]
    answer = function.invoke(s3_event(function.bucket.name, *names))
    assert [result["job_id"] for result in answer["results"]] == ["job-1", "job-2"]
    assert [request["jobName"] for request in batch_api.requests] == ["shrink-a-b-c-jpg", "shrink"]
    assert batch_api.requests[0]["jobQueue"] == os.environ["SCAR_JOB_QUEUE"]
    assert batch_api.requests[0]["jobDefinition"] == os.environ["SCAR_JOB_DEFINITION"]
    assert json.loads(batch_api.environment()["SCAR_EVENT"]) == s3_event(function.bucket.name, names[1])


def test_batch_that_refuses_the_job_fails_the_invocation(function: Function, batch_api: BatchApi) -> None:
    function.deploy(COPY, execution_mode="batch", batch={"timeout_s": 600, "attempts": 2})
    batch_api.refuse = True
    with pytest.raises(InvocationError, match="SubmitFailed"):
        function.invoke(s3_event(function.bucket.name, "in/a"))


def test_files_of_a_queue_become_one_array_job_with_a_line_for_each(
    function: Function, batch_api: BatchApi, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    monkeypatch.setenv("SCAR_EVENT_BUCKET", function.bucket.name)
    function.deploy(COPY, execution_mode="batch", batch={"timeout_s": 600, "attempts": 2})
    names = ["in/a", "in/ü +.jpg", "in/" + "x" * 200]
    events = [s3_event(function.bucket.name, name) for name in names]
    assert function.invoke(sqs(*events, "rubbish", s3_event(function.bucket.name, "in/"))) == {
        "batchItemFailures": [{"itemIdentifier": "m3"}]
    }
    (request,) = batch_api.requests
    assert request["arrayProperties"] == {"size": 3}
    jobs = [{**batch_api.environment(), "AWS_BATCH_JOB_ARRAY_INDEX": str(index)} for index in range(3)]
    assert [event_of_job(job) for job in jobs] == events
    (line,) = (line for line in log_lines() if line["message"] == "submitted")
    assert (line["subject"], line["job_id"]) == ("3 files", "job-1")
    # The same files again have the same name and the same object.
    function.invoke(sqs(*events))
    assert batch_api.requests[1] == request
    assert len(function.bucket.keys("")) == 1


def test_single_file_of_a_queue_and_long_events_have_jobs_of_their_own(
    function: Function, batch_api: BatchApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCAR_EVENT_BUCKET", function.bucket.name)
    function.deploy(COPY, execution_mode="batch", batch={"timeout_s": 600, "attempts": 2})
    event = s3_event(function.bucket.name, "in/a")
    long = {**event_bridge(function.bucket.name, "in/b"), "noise": "x" * 5000}
    assert function.invoke(sqs(event, long)) == {"batchItemFailures": []}
    assert [request.get("arrayProperties") for request in batch_api.requests] == [None, None]
    assert event_of_job(batch_api.environment()) == event


def test_files_of_a_queue_for_several_nodes_are_submitted_one_by_one(
    function: Function, batch_api: BatchApi
) -> None:
    batch = {"timeout_s": 600, "attempts": 2, "multi_node": True}
    function.deploy(COPY, execution_mode="batch", batch=batch)
    function.invoke(sqs(*(s3_event(function.bucket.name, name) for name in ("in/a", "in/b"))))
    assert [set(request) for request in batch_api.requests] == [
        {"jobName", "jobQueue", "jobDefinition", "nodeOverrides"}
    ] * 2


def test_more_files_than_an_array_holds_become_two(
    function: Function, batch_api: BatchApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCAR_EVENT_BUCKET", function.bucket.name)
    monkeypatch.setattr(delegation, "ARRAY_LIMIT", 2)
    function.deploy(COPY, execution_mode="batch", batch={"timeout_s": 600, "attempts": 2})
    function.invoke(sqs(s3_event(function.bucket.name, *(f"in/{number}" for number in range(5)))))
    sizes = [request.get("arrayProperties", {}).get("size") for request in batch_api.requests]
    assert sizes == [2, 2, None]


def test_batch_of_a_queue_that_is_not_accepted_fails_as_a_whole(
    function: Function, batch_api: BatchApi, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    monkeypatch.setenv("SCAR_EVENT_BUCKET", function.bucket.name)
    function.deploy(COPY, execution_mode="batch", batch={"timeout_s": 600, "attempts": 2})
    batch_api.refuse = True
    events = [s3_event(function.bucket.name, f"in/{number}") for number in range(3)]
    assert function.invoke(sqs(*events)) == {
        "batchItemFailures": [{"itemIdentifier": f"m{number}"} for number in range(3)]
    }
    (line,) = (line for line in log_lines() if line["message"] == "failed")
    assert (line["kind"], line["subject"]) == ("SubmitFailed", "3 files")


def test_unknown_event_fails_and_says_what_was_expected(function: Function) -> None:
    function.deploy(COPY)
    with pytest.raises(InvocationError, match=r"BadEvent.*aws:kinesis.*Expected an S3 notification"):
        function.invoke({"Records": [{"eventSource": "aws:kinesis"}]})


def test_broken_configuration_is_told(function: Function) -> None:
    function.deploy(COPY)
    (function.folder / "function_config.json").write_text('{"version": 1, "name": 3}')
    with pytest.raises(InvocationError, match=r"Misconfigured.*name: expected a string, found int"):
        function.invoke({})
