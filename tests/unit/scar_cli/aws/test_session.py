"""Clients of a command share one session."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from scar_cli.aws.session import botocore_session, client


def profile(folder: Path, name: str) -> Path:
    """A profile whose program gives credentials; returns the file in which it counts its calls."""
    calls, answer = folder / f"{name}.calls", folder / f"{name}.json"
    answer.write_text(json.dumps({"Version": 1, "AccessKeyId": f"key-of-{name}", "SecretAccessKey": "x"}))
    program = folder / f"{name}.sh"
    program.write_text(f"#!/bin/sh\necho called >> '{calls}'\ncat '{answer}'\n")
    program.chmod(0o755)
    with (folder / "config").open("a") as config:
        config.write(f"[profile {name}]\nregion = eu-west-1\ncredential_process = {program}\n")
    return calls


def test_credentials_are_asked_for_once_and_regions_and_profiles_are_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {name: profile(tmp_path, name) for name in ("one", "other")}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        for name, called in calls.items():
            monkeypatch.setenv("AWS_PROFILE", name)
            regions = [client("sqs").meta.region_name, client("sqs", region="us-east-2").meta.region_name]
            regions.append(client("s3").meta.region_name)
            assert regions == ["eu-west-1", "us-east-2", "eu-west-1"]
            assert botocore_session().get_credentials().access_key == f"key-of-{name}"
            assert called.read_text() == "called\n"
