"""A function's package: `function_config.json`, which configures the runner, the user's script, and extra
files.

The package is small: the runner itself is in the shared layer. The script and the folder of extra files have
fixed names in it, so that no user input becomes a path or a word of a command.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from aws_cdk import FileSystem
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from fdl_schemas.model import Function, StorageEntry, StorageProvider
from fdl_schemas.payload import is_cdk_output
from scar_constructs.deployment import DeploymentError
from scar_constructs.functions.asset_code import code_of
from scar_constructs.functions.provider_settings import packaged

CONFIG_VERSION = 1
"""Of `function_config.json`: the runner rejects a version that it does not support."""

EXTRA_PAYLOAD = "extra_payload"
"""The folder of the user's extra files in the package; the container finds its path in a variable."""


class FunctionAsset(Construct):
    """The zip with a function's configuration and script.

    :param definition: the function, with final bucket names.
    :param providers: the storage providers that it writes to.
    :raises DeploymentError: its files cannot be copied.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        definition: Function,
        providers: Sequence[StorageProvider] = (),
    ) -> None:
        super().__init__(scope, construct_id)
        with tempfile.TemporaryDirectory(prefix="scar-function-") as folder:
            try:
                write_package(definition, Path(folder), providers)
            except OSError as problem:
                raise DeploymentError(
                    f"function {definition.name}: its files cannot be packaged: {problem}"
                ) from problem
            self.asset = s3_assets.Asset(self, "Asset", path=folder)
            self.files: Mapping[str, Mapping[str, str]] = _described(definition, Path(folder))
            """Name and hash of the script, of the extra payload and of the settings."""
        self.code: lambda_.Code = code_of(self.asset)


def write_package(definition: Function, folder: Path, providers: Sequence[StorageProvider] = ()) -> None:
    """Write the package's files into an empty folder."""
    config = json.dumps(function_config(definition, providers), indent=2, ensure_ascii=False, sort_keys=True)
    (folder / "function_config.json").write_text(config + "\n", encoding="utf-8")
    if definition.init_script is not None:
        shutil.copyfile(definition.init_script, folder / "init_script")
        (folder / "init_script").chmod(0o755)
    if definition.extra_payload is not None:
        _copy_payload(definition.extra_payload, folder / EXTRA_PAYLOAD)


def function_config(definition: Function, providers: Sequence[StorageProvider] = ()) -> Mapping[str, object]:
    """The content of the file; see `runtime/config.py`."""
    batch = definition.batch
    return {
        "version": CONFIG_VERSION,
        "name": definition.name,
        "execution_mode": str(definition.execution_mode),
        "log_level": definition.log_level,
        "timeout_s": definition.timeout_s,
        "timeout_threshold_s": definition.container.timeout_threshold_s,
        "init_script": "init_script" if definition.init_script is not None else None,
        "extra_payload": EXTRA_PAYLOAD if definition.extra_payload is not None else None,
        "image": definition.container.image,
        "registry_credentials": definition.container.registry_credentials,
        "container_environment": dict(definition.container.environment),
        "inputs": [_entry(entry) for entry in definition.inputs],
        "outputs": [_entry(entry) for entry in definition.outputs],
        "storage_providers": packaged(providers),
        "file_systems": [system.local_mount_path for system in definition.file_systems],
        "batch": None
        if batch is None
        else {
            "timeout_s": batch.timeout_s,
            "attempts": batch.attempts,
            "multi_node": batch.multi_node is not None,
        },
        **({"once": True} if definition.once else {}),
    }


def _described(definition: Function, folder: Path) -> Mapping[str, Mapping[str, str]]:
    """The package's files with their hashes, by which `scar diff` names those that changed."""
    parts = {
        "script": (definition.init_script, "init_script"),
        "extra payload": (definition.extra_payload, EXTRA_PAYLOAD),
        "settings": (Path("in the FDL file"), "function_config.json"),
    }
    return {
        part: {"name": source.name, "hash": FileSystem.fingerprint(str(folder / packaged_as))}
        for part, (source, packaged_as) in parts.items()
        if source is not None
    }


def _copy_payload(source: Path, target: Path) -> None:
    """A file arrives as the only one of the folder, a folder with all that is in it but the CDK's output."""
    if source.is_dir():
        shutil.copytree(
            source,
            target,
            ignore=lambda folder, names: [name for name in names if is_cdk_output(Path(folder, name))],
        )
    else:
        target.mkdir()
        shutil.copy(source, target / source.name)


def _entry(entry: StorageEntry) -> Mapping[str, object]:
    return {
        "provider": entry.provider,
        "bucket": entry.bucket,
        "folder": entry.folder,
        "prefixes": list(entry.prefixes),
        "suffixes": list(entry.suffixes),
    }
