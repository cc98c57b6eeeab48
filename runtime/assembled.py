"""Assembled images: the runner is part of the user's image and runs in its root file system.

The assembler (`containers.assembly`) puts the function's package into the image at `FUNCTION_DIR`, with
`image_config.json`, the original configuration of the user's image:

    {"version": 1, "env": ["NAME=value"], "entrypoint": ["…"], "cmd": ["…"], "working_dir": "", "user": ""}

An empty value means that the image does not set it. On AWS Lambda, the root file system is read-only and the
process is unprivileged; in AWS Batch, the root is writable and `USER` applies. `writable_folder`, and the
engine for `HOME`, check what is writable instead of asking where it runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from containers.errors import ErrorKind, ExplainedError
from containers.image.config import ImageConfig
from runtime.workspace import Workspace

FUNCTION_DIR = "/.scar/function"
"""Where the assembler puts the function's package."""

IMAGE_CONFIG = "image_config.json"
_VERSION = 1
_ROOT = Path("/")


@dataclass(frozen=True)
class EnclosingImage:
    """The image that this process runs in."""

    config: ImageConfig
    path: Path = _ROOT


def assembled_image(function_dir: Path) -> EnclosingImage | None:
    """The image that the runner is part of; None in pulled mode.

    Raises `ExplainedError` of kind `Misconfigured`.
    """
    path = function_dir / IMAGE_CONFIG
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise wrong(path, str(error)) from None
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise wrong(path, f"expected an object of version {_VERSION}")
    return EnclosingImage(
        ImageConfig(
            env=_texts(path, data, "env"),
            entrypoint=_texts(path, data, "entrypoint"),
            cmd=_texts(path, data, "cmd"),
            working_dir=_text(path, data, "working_dir"),
            user=_text(path, data, "user"),
        )
    )


def writable_folder(working_dir: str, workspace: Workspace) -> str:
    """A working directory that the script can write to; a `WORKDIR` is kept in any case."""
    # BuildKit writes "/" where a Dockerfile has no WORKDIR.
    if working_dir in ("", "/") and not os.access("/", os.W_OK | os.X_OK):
        return str(workspace.home)
    return working_dir


def _texts(path: Path, data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = data.get(key)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong(path, f"{key}: expected a list of strings")
    return tuple(value)


def _text(path: Path, data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise wrong(path, f"{key}: expected a string")
    return value


def wrong(path: Path, what: str) -> ExplainedError:
    """The error for a file of the function's package that cannot be used."""
    return ExplainedError(
        f"{path}: {what}", advice="Deploy the function again.", kind=ErrorKind.MISCONFIGURED
    )
