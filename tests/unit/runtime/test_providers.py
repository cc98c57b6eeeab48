"""A whole run whose outputs go to named storage providers, with what its log and its container get to see."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from containers import aws, aws_secrets
from runtime.errors import InvocationError
from tests.unit.runtime.conftest import Function
from tests.unit.runtime.event_shapes import s3_event
from tests.unit.runtime.storage.places import SPACE
from tests.unit.runtime.storage.servers import (
    LOGIN,
    PASSWORD,
    TOKEN,
    Running,
    onedata_server,
    webdav_server,
)

SCRIPT = """#!/bin/sh
env > "$TMP_OUTPUT_DIR/environment.txt"
mkdir "$TMP_OUTPUT_DIR/sub dir"
cat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/sub dir/copy ü+%.jpg"
"""


@pytest.fixture
def dav(tmp_path: Path) -> Iterator[Running]:
    with webdav_server(tmp_path / "dav") as running:
        yield running


@pytest.fixture
def onedata(tmp_path: Path) -> Iterator[Running]:
    with onedata_server(tmp_path / "onedata", SPACE) as running:
        yield running


def output(provider: str, bucket: str, *suffixes: str) -> dict[str, Any]:
    return {
        "provider": provider,
        "bucket": bucket,
        "folder": "results",
        "prefixes": [],
        "suffixes": list(suffixes),
    }


def keep_in_stack(function: Function, monkeypatch: pytest.MonkeyPatch, **password: str) -> None:
    """What the template does with secrets that stand in the FDL file."""
    content = {
        "webdav.home": {"password": password.get("password", PASSWORD)},
        "onedata.eosc": {"token": TOKEN},
    }
    name = f"stack-{function.bucket.name}"
    made = aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(content))
    monkeypatch.setenv("SCAR_STORAGE_SECRET", made["ARN"])
    aws_secrets._read.clear()


def deploy(function: Function, dav: Running, onedata: Running) -> None:
    stack = {"stack_secret": True}
    function.deploy(
        SCRIPT,
        storage_providers={
            "webdav.home": {"kind": "webdav", "hostname": dav.url, "login": LOGIN, "password": stack},
            "onedata.eosc": {
                "kind": "onedata",
                "oneprovider_host": onedata.url,
                "space": SPACE,
                "token": stack,
            },
        },
        outputs=[
            output("s3", function.bucket.name),
            output("webdav.home", "photos", ".jpg"),
            output("onedata.eosc", "texts", ".txt"),
        ],
    )
    function.bucket.put("in/a.jpg", b"picture")


def test_each_file_goes_to_every_provider_whose_filters_match(
    function: Function,
    dav: Running,
    onedata: Running,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep_in_stack(function, monkeypatch)
    deploy(function, dav, onedata)
    answer = function.invoke(s3_event(function.bucket.name, "in/a.jpg"))
    assert dav.watch.files(temporary=True) == {"photos/results/sub dir/copy ü+%.jpg": b"picture"}
    assert list(onedata.watch.files(temporary=True)) == ["texts/results/environment.txt"]
    assert function.bucket.get("results/sub dir/copy ü+%.jpg") == b"picture"
    assert "webdav.home://photos/results/sub dir/copy ü+%.jpg" in answer["results"][0]["uploaded"]
    environment = onedata.watch.files()["texts/results/environment.txt"].decode()
    assert "INPUT_FILE_PATH=" in environment
    log = capsys.readouterr().out
    for text in (environment, log, json.dumps(answer)):
        assert PASSWORD not in text
        assert TOKEN not in text
        assert "SCAR_STORAGE_SECRET" not in text


def test_provider_that_refuses_fails_the_run_before_the_workflow_goes_on(
    function: Function,
    dav: Running,
    onedata: Running,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep_in_stack(function, monkeypatch, password="wrong-password")
    deploy(function, dav, onedata)
    with pytest.raises(InvocationError) as caught:
        function.invoke(s3_event(function.bucket.name, "in/a.jpg"))
    assert "StorageRefused: webdav.home (http://127.0.0.1:" in str(caught.value)
    assert function.bucket.keys("results/") == []
    assert dav.watch.files(temporary=True) == {}
    assert "wrong-password" not in capsys.readouterr().out + str(caught.value)


def test_secret_that_is_absent_fails_the_run(
    function: Function, dav: Running, onedata: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "SCAR_STORAGE_SECRET", "arn:aws:secretsmanager:us-east-1:000000000000:secret:none-abcdef"
    )
    deploy(function, dav, onedata)
    with pytest.raises(InvocationError, match=r"SecretUnavailable: The secret arn:.*does not exist"):
        function.invoke(s3_event(function.bucket.name, "in/a.jpg"))
    assert function.bucket.keys("results/") == []
