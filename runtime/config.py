"""What was deployed: `function_config.json`, as the template wrote it beside the user's script.

Read once for each execution environment. Whatever is wrong with it is the deployment's fault, not the
event's: one `RunnerError` of kind `Misconfigured` that names the file and the key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import RunnerError

FILE_NAME = "function_config.json"
VERSION = 1
MODES = ("lambda", "lambda-batch", "batch")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class StorageFolder:
    """One `input` or `output`: a folder of a bucket, with filters on the base names of its files."""

    provider: str
    bucket: str
    folder: str = ""
    prefixes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()

    @property
    def key_prefix(self) -> str:
        """What every key in the folder starts with; empty for the whole bucket."""
        return f"{self.folder}/" if self.folder else ""

    def accepts(self, base_name: str) -> bool:
        """Each list is an "or", both together an "and", and an empty list matches every name."""
        return (not self.prefixes or base_name.startswith(self.prefixes)) and (
            not self.suffixes or base_name.endswith(self.suffixes)
        )

    def __str__(self) -> str:
        """As it stands in an FDL file."""
        return f"{self.bucket}/{self.folder}" if self.folder else self.bucket


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """Of the function's Batch jobs."""

    timeout_s: int
    attempts: int


@dataclass(frozen=True, slots=True)
class FunctionConfig:
    """Everything about the function that does not change from event to event."""

    name: str
    execution_mode: str
    log_level: str
    timeout_s: int
    timeout_threshold_s: int
    init_script: Path | None
    """Absolute path of the user's script on this machine."""
    extra_payload: Path | None
    """Absolute path of the folder of files that were packaged with the function."""
    image: str | None
    """Reference in a registry; None: the image is an archive, at `SCAR_IMAGE_FILE`."""
    container_environment: Mapping[str, str]
    inputs: tuple[StorageFolder, ...]
    outputs: tuple[StorageFolder, ...]
    batch: BatchSettings | None


def load_config(environ: Mapping[str, str]) -> FunctionConfig:
    """Read `function_config.json` from `SCAR_FUNCTION_DIR`, else from `LAMBDA_TASK_ROOT`.

    Raises `RunnerError` of kind `Misconfigured`.
    """
    folder = environ.get("SCAR_FUNCTION_DIR") or environ.get("LAMBDA_TASK_ROOT")
    if not folder:
        raise RunnerError(
            "Neither SCAR_FUNCTION_DIR nor LAMBDA_TASK_ROOT is set",
            advice=f"One of them must name the folder that holds {FILE_NAME}.",
            kind="Misconfigured",
        )
    path = Path(folder).absolute() / FILE_NAME
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise _wrong(path, "the file does not exist") from None
    except (OSError, ValueError) as error:
        raise _wrong(path, f"it cannot be read as JSON ({error})") from None
    return _Reader(path, data).function()


def _wrong(path: Path, what: str) -> RunnerError:
    return RunnerError(f"{path}: {what}", advice="Deploy the function again.", kind="Misconfigured")


class _Reader:
    """Takes the file's keys out one by one, so that a complaint can name the key and what was expected."""

    def __init__(self, path: Path, data: object) -> None:
        self._path = path
        self._data = self._is(data, dict, "the whole", "an object")
        version = self._take(self._data, "version", int, "a number")
        if version != VERSION:
            raise _wrong(path, f"it is of version {version}, this runner reads version {VERSION}")

    def function(self) -> FunctionConfig:
        data = self._data
        batch = self._optional(data, "batch", dict, "an object or null")
        return FunctionConfig(
            name=self._take(data, "name", str, "a string"),
            execution_mode=self._one_of(data, "execution_mode", MODES),
            log_level=self._one_of(data, "log_level", LOG_LEVELS),
            timeout_s=self._take(data, "timeout_s", int, "a number of seconds"),
            timeout_threshold_s=self._take(data, "timeout_threshold_s", int, "a number of seconds"),
            init_script=self._file(data, "init_script"),
            extra_payload=self._file(data, "extra_payload"),
            image=self._optional(data, "image", str, "a string or null"),
            container_environment=self._variables(data, "container_environment"),
            inputs=self._folders(data, "inputs"),
            outputs=self._folders(data, "outputs"),
            batch=None
            if batch is None
            else BatchSettings(
                timeout_s=self._take(batch, "timeout_s", int, "a number of seconds", "batch."),
                attempts=self._take(batch, "attempts", int, "a number", "batch."),
            ),
        )

    def _is(self, value: Any, kind: type, where: str, expected: str) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise _wrong(self._path, f"{where}: expected {expected}, found {type(value).__name__}")
        return value

    def _take(self, data: dict[str, Any], key: str, kind: type, expected: str, where: str = "") -> Any:
        if key not in data:
            raise _wrong(self._path, f"{where}{key} is missing; expected {expected}")
        return self._is(data[key], kind, where + key, expected)

    def _optional(self, data: dict[str, Any], key: str, kind: type, expected: str) -> Any:
        return None if data.get(key) is None else self._is(data[key], kind, key, expected)

    def _one_of(self, data: dict[str, Any], key: str, values: tuple[str, ...]) -> str:
        value: str = self._take(data, key, str, " or ".join(values))
        if value not in values:
            raise _wrong(self._path, f"{key}: expected one of {', '.join(values)}, found {value!r}")
        return value

    def _file(self, data: dict[str, Any], key: str) -> Path | None:
        name: str | None = self._optional(
            data, key, str, "the name of a file beside the configuration, or null"
        )
        if name is None:
            return None
        path = self._path.parent / name
        if not path.exists():
            raise _wrong(self._path, f"{key}: {path} does not exist")
        return path

    def _variables(self, data: dict[str, Any], key: str) -> dict[str, str]:
        found = self._optional(data, key, dict, "an object of strings") or {}
        for name, value in found.items():
            self._is(value, str, f"{key}.{name}", "a string")
        return dict(found)

    def _folders(self, data: dict[str, Any], key: str) -> tuple[StorageFolder, ...]:
        entries = self._optional(data, key, list, "a list") or []
        return tuple(self._folder(entry, f"{key}[{index}]") for index, entry in enumerate(entries))

    def _folder(self, entry: object, where: str) -> StorageFolder:
        data = self._is(entry, dict, where, "an object")
        return StorageFolder(
            provider=self._take(data, "provider", str, "a string", where + "."),
            bucket=self._take(data, "bucket", str, "a string", where + "."),
            folder=self._is(data.get("folder", ""), str, where + ".folder", "a string").strip("/"),
            prefixes=self._strings(data.get("prefixes", []), where + ".prefixes"),
            suffixes=self._strings(data.get("suffixes", []), where + ".suffixes"),
        )

    def _strings(self, value: object, where: str) -> tuple[str, ...]:
        items = self._is(value, list, where, "a list of strings")
        return tuple(self._is(item, str, where, "a list of strings") for item in items)
