"""The layer of one function: its package as `cdk deploy` uploaded it, and the configuration of the user's
image.
"""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from containers.assembly.layer_writer import Entry, LayerWriter, PackedLayer, sort_key
from containers.errors import ErrorKind, ExplainedError

FUNCTION = "/.scar/function"
"""Where the function's package is in the image."""

_MAXIMUM_BYTES = 250 << 20  # the maximum of Lambda for a function's package, uncompressed


def pack_function(package: Path | IO[bytes], config: Mapping[str, Any]) -> PackedLayer:
    """The layer of the zip `package` and of the user's image configuration `config`. Raises ExplainedError
    (kind `BadPackage`)."""
    root = FUNCTION.removeprefix("/")
    image_config = json.dumps(_image_config(config), indent=2, ensure_ascii=False, sort_keys=True)
    try:
        with zipfile.ZipFile(package) as archive:
            members = {_inside(info): info for info in archive.infolist() if not info.is_dir()}
            if sum(info.file_size for info in members.values()) > _MAXIMUM_BYTES:
                raise _bad(f"it has more than {_MAXIMUM_BYTES >> 20} MiB uncompressed")
            writer = LayerWriter()
            for name in sorted({*members, "image_config.json"}, key=sort_key):
                if name == "image_config.json":
                    writer.add(Entry(f"{root}/{name}", f"{image_config}\n".encode(), 0o644))
                    continue
                mode = members[name].external_attr >> 16
                runs = name == "init_script" or mode & stat.S_IXUSR
                writer.add(Entry(f"{root}/{name}", archive.read(members[name]), 0o755 if runs else 0o644))
            return writer.finish()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise _bad(f"{error}") from error


def has_script(package: Path | IO[bytes]) -> bool:
    """Whether the function has a script, and does not run the image's entry point."""
    try:
        with zipfile.ZipFile(package) as archive:
            return "init_script" in archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise _bad(f"{error}") from error


def _image_config(config: Mapping[str, Any]) -> Mapping[str, object]:
    given = config.get("config") or {}
    return {
        "version": 1,
        "env": list(given.get("Env") or ()),
        "entrypoint": list(given.get("Entrypoint") or ()),
        "cmd": list(given.get("Cmd") or ()),
        "working_dir": given.get("WorkingDir") or "",
        "user": given.get("User") or "",
    }


def _inside(info: zipfile.ZipInfo) -> str:
    path = PurePosixPath(info.filename)
    # A zip's names may lead out of the folder, over the image's own files.
    if path.is_absolute() or ".." in path.parts:
        raise _bad(f"it contains the path '{info.filename}'")
    return str(path)


def _bad(why: str) -> ExplainedError:
    return ExplainedError(
        f"the function's package is invalid: {why}",
        advice="Deploy again: `cdk deploy` creates and uploads the package",
        kind=ErrorKind.BAD_PACKAGE,
    )
