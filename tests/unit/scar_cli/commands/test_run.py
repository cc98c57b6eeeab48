"""Answers of functions, and parameters of requests, as `scar run` and `scar invoke` read and write them."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import threading
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from scar_cli.aws.deployed import reachable_url
from scar_cli.commands.invoke import _send, query
from scar_cli.commands.invoke import command as invoke
from scar_cli.commands.run import _read, command
from scar_cli.errors import UserError
from tests.loopback_aws import FDL


def answer(**more: Any) -> dict[str, Any]:
    return {"StatusCode": 200, "ResponseMetadata": {"RequestId": "id"}, **more}


def test_the_output_of_the_container_is_found_in_the_answer() -> None:
    content = {"status": "ok", "request_id": "theirs", "results": [{"output": "hello", "status": "done"}]}
    read = _read(answer(), json.dumps(content).encode())
    assert (read.output, read.request_id, read.failure, read.job_id) == ("hello", "theirs", None, None)


def test_a_failure_is_the_function_s_own_words() -> None:
    payload = json.dumps({"errorMessage": "exit code 7", "errorType": "ScriptFailed"}).encode()
    assert _read(answer(FunctionError="Unhandled"), payload).failure == "exit code 7"


@pytest.mark.parametrize("payload", [b"", b"null", b'"text"', b"[1]", b"{}", b'{"results": [1]}', b"no JSON"])
def test_an_answer_of_another_shape_has_no_output(payload: bytes) -> None:
    assert _read(answer(), payload).output == ""


def test_parameters_are_pairs_or_json() -> None:
    assert query(("a=1 2", "b==", '{"c": "ü", "d": [1]}')) == "a=1%202&b=%3D&c=%C3%BC&d=%5B1%5D"
    for text in ("a", "=1", "{a"):
        with pytest.raises(UserError, match="Invalid parameter"):
            query((text,))


def test_an_endpoint_of_the_embedded_cloud_is_reached_where_it_is() -> None:
    url = "https://abc.execute-api.us-east-1.amazonaws.com/scar/launch"
    assert reachable_url(url, "http://127.0.0.1:4566") == (
        "http://127.0.0.1:4566/_aws/execute-api/abc/scar/launch"
    )
    assert reachable_url(url, "https://apigateway.us-east-1.amazonaws.com") == url


@pytest.mark.parametrize("more", [[], ["-ib", "bucket/in"]])
def test_a_launch_takes_no_stack(tmp_path: Path, more: list[str]) -> None:
    fdl = tmp_path / "fan.yaml"
    fdl.write_text(FDL)
    result = CliRunner().invoke(command, ["-f", str(fdl), "--stack", "s", *more])
    assert str(result.exception) == (
        "--stack does not apply to a launch, which finds the function by its FDL file. "
        "Omit --stack. For a stage, add --stage."
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-s", "{empty}", "-n", "f"], "is empty"),
        (["-s", "{folder}", "-n", "f"], "cannot be read"),
        (["-s", "{empty}", "-n", "f", "ls"], "Cannot run both a script"),
    ],
)
def test_a_script_that_cannot_run_is_said_before_anything_is_called(
    tmp_path: Path, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scar_cli.aws.deployed import DeployedFunction
    from scar_cli.commands import run

    deployed = DeployedFunction("f", "stack", "us-east-1", "lambda", "/aws/lambda/f", "https://queue")
    monkeypatch.setattr(run, "one_selected", lambda *_choice: deployed)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    (tmp_path / "empty").touch()
    filled = [text.format(empty=tmp_path / "empty", folder=tmp_path) for text in arguments]
    result = CliRunner().invoke(command, filled)
    assert isinstance(result.exception, UserError)
    assert said in str(result.exception)


@pytest.mark.parametrize("verb", [command, invoke], ids=["run", "invoke"])
@pytest.mark.parametrize(
    ("output", "said"),
    [("none/output.txt", "the folder {folder}/none does not exist"), (".", "it is a folder")],
)
def test_an_output_without_a_place_is_said_before_anything_runs(
    tmp_path: Path, verb: click.Command, output: str, said: str
) -> None:
    result = CliRunner().invoke(verb, ["-n", "f", "-o", str(tmp_path / output)])
    assert isinstance(result.exception, UserError)
    assert f"cannot be written: {said.format(folder=tmp_path)}" in str(result.exception)


def test_an_output_file_is_for_one_run(tmp_path: Path) -> None:
    fdl = tmp_path / "w.yaml"
    fdl.write_text(
        "functions: {aws: [{lambda: {name: f, container: {image: busybox}, "
        "input: [{storage_provider: s3, path: bucket/in}]}}]}"
    )
    result = CliRunner().invoke(command, ["-f", str(fdl), "-o", str(tmp_path / "output.txt")])
    assert isinstance(result.exception, UserError)
    assert "each file has its own run" in str(result.exception)


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"hello\r\n\r\n"])
def test_an_answer_that_is_cut_off_or_not_http_is_said(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_once() -> None:
            connection, _address = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

        threading.Thread(target=answer_once, daemon=True).start()
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"127.0.0.1:{port} does not respond: "):
            _send(f"http://127.0.0.1:{port}/", None, {})


class Lambda:
    """AWS Lambda, as far as `scar run` uses it; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def invoke(self, **asked: Any) -> dict[str, Any]:
        self.asked = {**asked, "Payload": json.loads(asked["Payload"])}
        status = {"RequestResponse": 200, "Event": 202, "DryRun": 204}[asked["InvocationType"]]
        content = b'{"results": [{"output": "hello"}]}' if status == 200 else b""
        log = {"LogResult": base64.b64encode(b"START\nEND\n").decode()} if "LogType" in asked else {}
        return {**answer(StatusCode=status), **log, "Payload": io.BytesIO(content)}


@pytest.fixture
def lambda_(monkeypatch: pytest.MonkeyPatch) -> Lambda:
    from scar_cli.aws.deployed import DeployedFunction
    from scar_cli.commands import run

    fake = Lambda()
    deployed = DeployedFunction("f", "stack", "us-east-1", "lambda", "/aws/lambda/f", "https://queue")
    monkeypatch.setattr(run, "one_selected", lambda *_choice: deployed)
    monkeypatch.setattr(run, "client", lambda *_name, **_settings: fake)
    return fake


def run_file(folder: Path, settings: str, *arguments: str) -> Result:
    """`scar run -f` a file whose function has these settings."""
    (folder / "once.sh").write_text("echo once\n")
    file = folder / "w.yaml"
    file.write_text(f"functions: {{aws: [{{lambda: {{name: f, container: {{image: a}}, {settings}}}}}]}}\n")
    return CliRunner().invoke(command, ["-f", str(file), *arguments], catch_exceptions=False)


@pytest.mark.parametrize(
    ("settings", "arguments", "kind"),
    [
        ("memory: 512", (), "RequestResponse"),
        ("asynchronous: true", (), "Event"),
        ("invocation_type: Event", (), "Event"),
        ("invocation_type: DryRun", (), "DryRun"),
        ("invocation_type: DryRun", ("-a",), "Event"),
    ],
)
def test_the_file_says_how_the_function_is_invoked(
    settings: str, arguments: tuple[str, ...], kind: str, lambda_: Lambda, tmp_path: Path
) -> None:
    run_file(tmp_path, settings, *arguments)
    assert lambda_.asked["InvocationType"] == kind


def test_a_dry_run_says_that_nothing_ran(lambda_: Lambda, tmp_path: Path) -> None:
    said = run_file(tmp_path, "invocation_type: DryRun").stdout
    assert said == "f could run. Nothing ran, because its invocation_type is DryRun.\n"


def test_verbose_tells_each_step(lambda_: Lambda, tmp_path: Path) -> None:
    said = run_file(tmp_path, "payload: {a: [1]}, run_script: once.sh", "-v").stderr.splitlines()
    assert said[:4] == [
        "Calling the function f in us-east-1 (stack stack)",
        f"The container runs the script {tmp_path / 'once.sh'}",
        "Payload: 10 bytes of JSON",
        "Waiting for the run to finish",
    ]
    assert re.fullmatch(r"Finished after \d+\.\d s", said[4])
    assert (
        "The container runs the command: ls 'a b'"
        in run_file(tmp_path, "memory: 512", "-v", "ls", "a b").stderr
    )


def test_payload_and_script_of_the_file_are_sent(lambda_: Lambda, tmp_path: Path) -> None:
    script = base64.b64encode(b"echo once\n").decode()
    run_file(tmp_path, "payload: {a: [1]}")
    assert lambda_.asked["Payload"] == {"a": [1]}
    run_file(tmp_path, "payload: {a: [1]}, run_script: once.sh")
    assert lambda_.asked["Payload"] == {"a": [1], "script": script}
    run_file(tmp_path, "payload: {a: [1]}, run_script: once.sh", "ls", "/")
    assert lambda_.asked["Payload"] == {"cmd_args": ["ls", "/"]}


@pytest.mark.parametrize(
    ("settings", "arguments", "shown"),
    [
        ("memory: 512", ("-v",), True),
        ("log_type: Tail", ("-v",), True),
        ("log_type: None", ("-v",), False),
        ("log_type: Tail", (), False),
        ("asynchronous: true", ("-v",), False),
    ],
)
def test_the_end_of_the_log_is_shown_if_it_is_wanted(
    settings: str, arguments: tuple[str, ...], shown: bool, lambda_: Lambda, tmp_path: Path
) -> None:
    said = run_file(tmp_path, settings, *arguments)
    assert ("LogType" in lambda_.asked) is shown
    assert ("START\nEND\n" in said.stderr) is shown
