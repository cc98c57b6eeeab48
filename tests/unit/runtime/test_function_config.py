"""`function_config.json` as a deployment writes it (`tests/function_config`), read by the runner.

`tests/synth/test_function_config.py` has synthesis write the same files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.config import (
    FILE_NAME,
    BatchSettings,
    FunctionConfig,
    SecretField,
    StorageConnection,
    StorageFolder,
    load_config,
)

FOLDER = Path(__file__).parents[2] / "function_config"
CASES = sorted(path.stem for path in FOLDER.glob("*.json"))


def expected(folder: Path) -> dict[str, FunctionConfig]:
    """What each file means, once it is in a folder."""
    smallest = FunctionConfig(
        name="smallest",
        execution_mode="lambda",
        log_level="INFO",
        timeout_s=300,
        timeout_threshold_s=10,
        init_script=folder / "init_script",
        extra_payload=None,
        image=None,
        container_environment={},
        inputs=(StorageFolder("s3", "bucket"),),
        outputs=(),
        batch=None,
    )
    mounted = FunctionConfig(
        name="mounted",
        execution_mode="lambda",
        log_level="INFO",
        timeout_s=300,
        timeout_threshold_s=10,
        init_script=None,
        extra_payload=None,
        image="busybox",
        container_environment={},
        inputs=(StorageFolder("s3", "bucket", "in"),),
        outputs=(StorageFolder("s3", "bucket", "out"),),
        batch=None,
        file_systems=(Path("/mnt/data"),),
    )
    everything = FunctionConfig(
        name="everything",
        execution_mode="lambda-batch",
        log_level="DEBUG",
        timeout_s=600,
        timeout_threshold_s=20,
        init_script=folder / "init_script",
        extra_payload=folder / "extra_payload",
        image="registry.example.org/team/tool:1.2",
        container_environment={"GREETING": "¡Hola, «mundo»!", "EMPTY": ""},
        inputs=(
            StorageFolder("s3", "bucket", "in/deep", ("a", "b"), (".jpg", ".png")),
            StorageFolder("s3", "other-bucket"),
        ),
        outputs=(
            StorageFolder("s3", "bucket", "out"),
            StorageFolder("minio.lab", "results", "out", suffixes=(".txt",)),
            StorageFolder("s3.partner", "partner-bucket", "out"),
            StorageFolder("webdav.home", "files", "out"),
            StorageFolder("onedata.eosc", "my-space", "out"),
        ),
        batch=BatchSettings(timeout_s=7200, attempts=3),
        storage_providers={
            "minio.lab": StorageConnection(
                "minio.lab",
                {
                    "endpoint": "https://minio.example.org",
                    "region": "eu-south-2",
                    "access_key": SecretField(None),
                    "secret_key": SecretField("lab/minio"),
                },
                verify=False,
            ),
            "s3.partner": StorageConnection(
                "s3.partner",
                {
                    "region": "eu-west-1",
                    "access_key": SecretField("partner/s3"),
                    "secret_key": SecretField("partner/s3"),
                },
            ),
            "webdav.home": StorageConnection(
                "webdav.home",
                {
                    "hostname": "https://dav.example.org/files",
                    "login": SecretField(None),
                    "password": SecretField(None),
                },
            ),
            "onedata.eosc": StorageConnection(
                "onedata.eosc",
                {
                    "oneprovider_host": "provider.example.org",
                    "space": "my-space",
                    "token": SecretField("eosc/token"),
                },
            ),
        },
        registry_credentials="team/registry",
        once=True,
    )
    return {config.name: config for config in (smallest, mounted, everything)}


def package(folder: Path, content: str) -> Path:
    (folder / FILE_NAME).write_text(content, encoding="utf-8")
    (folder / "init_script").touch()
    (folder / "extra_payload").mkdir()
    return folder


@pytest.mark.parametrize("case", CASES)
def test_what_synthesis_writes_is_read_as_it_was_meant(case: str, tmp_path: Path) -> None:
    package(tmp_path, (FOLDER / f"{case}.json").read_text(encoding="utf-8"))
    assert load_config({"SCAR_FUNCTION_DIR": str(tmp_path)}) == expected(tmp_path)[case]


def test_no_key_is_written_that_nobody_reads(tmp_path: Path) -> None:
    content: dict[str, Any] = json.loads((FOLDER / "everything.json").read_text(encoding="utf-8"))
    content["file_systems"] = ["/mnt/data"]
    package(tmp_path, json.dumps(content))
    whole = load_config({"SCAR_FUNCTION_DIR": str(tmp_path)})
    for key in content.keys() - {"version"}:
        assert getattr(whole, key), key
