"""`storage_providers` of function_config.json, as the docstring of `runtime.config` has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from containers.errors import ExplainedError
from runtime.config import FunctionConfig, SecretField, load_config

SECRET = {"secret": "my/secret"}
STACK = {"stack_secret": True}
PROVIDERS: dict[str, Any] = {
    "s3.partner": {"kind": "s3", "region": "eu-west-1", "access_key": "AKIA", "secret_key": SECRET},
    "minio.lab": {
        "kind": "minio",
        "endpoint": "https://m",
        "region": "r",
        "verify": False,
        "access_key": STACK,
        "secret_key": STACK,
    },
    "webdav.home": {"kind": "webdav", "hostname": "h", "login": "ann", "password": SECRET},
    "onedata.eosc": {"kind": "onedata", "oneprovider_host": "h", "space": "s", "token": SECRET},
}


def load(folder: Path, providers: object, output: str = "s3") -> FunctionConfig:
    settings = {
        "version": 1,
        "name": "f",
        "execution_mode": "lambda",
        "log_level": "INFO",
        "timeout_s": 60,
        "timeout_threshold_s": 5,
        "image": "x",
        "storage_providers": providers,
        "outputs": [{"provider": output, "bucket": "b", "folder": "f"}],
    }
    (folder / "function_config.json").write_text(json.dumps(settings))
    return load_config({"LAMBDA_TASK_ROOT": str(folder)})


def test_every_kind_is_read(tmp_path: Path) -> None:
    found = load(tmp_path, PROVIDERS, "webdav.home").storage_providers
    assert [provider.kind for provider in found.values()] == ["s3", "minio", "webdav", "onedata"]
    assert found["s3.partner"].settings == {
        "access_key": "AKIA",
        "secret_key": SecretField("my/secret"),
        "region": "eu-west-1",
    }
    assert found["minio.lab"].settings["secret_key"] == SecretField(None)
    assert [provider.verify for provider in found.values()] == [True, False, True, True]


def test_function_without_providers_has_none(tmp_path: Path) -> None:
    assert load(tmp_path, None).storage_providers == {}


@pytest.mark.parametrize(
    ("name", "change", "where"),
    [
        ("webdav.home", {"password": "top-secret"}, "storage_providers.webdav.home.password"),
        ("onedata.eosc", {"token": "top-secret"}, "storage_providers.onedata.eosc.token"),
        ("minio.lab", {"secret_key": "top-secret"}, "storage_providers.minio.lab.secret_key"),
        ("minio.lab", {"secret_key": {"secret": ""}}, "storage_providers.minio.lab.secret_key"),
        ("minio.lab", {"secret_key": {"stack_secret": False}}, "storage_providers.minio.lab.secret_key"),
        ("minio.lab", {"endpoint": SECRET}, "storage_providers.minio.lab.endpoint"),
        ("minio.lab", {"endpoint": None}, "storage_providers.minio.lab.endpoint"),
        ("minio.lab", {"verify": "yes"}, "storage_providers.minio.lab.verify"),
        ("webdav.home", {"verify": False}, "storage_providers.webdav.home.verify"),
        ("webdav.home", {"kind": "rucio"}, "storage_providers.webdav.home.kind"),
        ("webdav.home", {"kind": "s3"}, "storage_providers.webdav.home"),
    ],
)
def test_what_is_wrong_is_named_and_not_shown(
    name: str, change: dict[str, Any], where: str, tmp_path: Path
) -> None:
    with pytest.raises(ExplainedError) as caught:
        load(tmp_path, {name: PROVIDERS[name] | change})
    assert caught.value.kind == "Misconfigured"
    assert f"{where}: " in str(caught.value)
    assert "top-secret" not in str(caught.value)


def test_output_on_a_provider_that_is_not_defined_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExplainedError, match=r"outputs\[0\].provider: expected one of s3, minio.lab"):
        load(tmp_path, {"minio.lab": PROVIDERS["minio.lab"]}, "minio.other")
