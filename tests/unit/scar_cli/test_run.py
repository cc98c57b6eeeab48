"""Answers of functions, and parameters of requests, as `scar run` and `scar invoke` read and write them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scar_cli.deployed import reachable_url
from scar_cli.errors import UserError
from scar_cli.invoke import query
from scar_cli.run import _read, command


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
    assert query(("a=1 2", "b==", '{"c": "ü", "d": [1]}')) == "a=1+2&b=%3D&c=%C3%BC&d=%5B1%5D"
    for text in ("a", "=1", "{a"):
        with pytest.raises(UserError, match="is no parameter"):
            query((text,))


def test_an_endpoint_of_the_embedded_cloud_is_reached_where_it_is() -> None:
    url = "https://abc.execute-api.us-east-1.amazonaws.com/scar/launch"
    assert reachable_url(url, "http://127.0.0.1:4566") == (
        "http://127.0.0.1:4566/_aws/execute-api/abc/scar/launch"
    )
    assert reachable_url(url, "https://apigateway.us-east-1.amazonaws.com") == url


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-s", "{empty}", "-n", "f"], "is empty"),
        (["-s", "{folder}", "-n", "f"], "cannot be read"),
        (["-s", "{empty}", "-n", "f", "ls"], "cannot both run"),
    ],
)
def test_a_script_that_cannot_run_is_said_before_anything_is_called(
    tmp_path: Path, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scar_cli import run
    from scar_cli.deployed import DeployedFunction

    deployed = DeployedFunction("f", "stack", "us-east-1", "lambda", "/aws/lambda/f", "https://queue")
    monkeypatch.setattr(run, "one_selected", lambda *_choice: deployed)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    (tmp_path / "empty").touch()
    filled = [text.format(empty=tmp_path / "empty", folder=tmp_path) for text in arguments]
    result = CliRunner().invoke(command, filled)
    assert isinstance(result.exception, UserError)
    assert said in str(result.exception)
