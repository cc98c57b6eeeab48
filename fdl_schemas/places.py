"""Where an FDL file mentions a name, for errors that only AWS can report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fdl_schemas.diagnostics.diagnostic import FdlError
from fdl_schemas.reading import source
from fdl_schemas.reading.document import PathInFile


def place_of_bucket(file: str | Path, bucket: str) -> str | None:
    """The first input or output of a bucket, as `FILE:LINE:COLUMN`; None if it is not mentioned.

    Args:
        file: an FDL file without errors.
        bucket: its name in the file.
    """
    try:
        document = source.read(file)
    except FdlError:  # it was changed in the meantime
        return None
    for path in _storage_paths(document.data):
        written = document.node(path).text or ""
        if written.strip("/").partition("/")[0] == bucket:
            position = document.value_position(path)
            return f"{document.file}:{position.line}:{position.column}"
    return None


def _storage_paths(data: Any) -> Iterator[PathInFile]:
    for number, function in enumerate(data["functions"].get("aws") or ()):
        for key in ("input", "output"):
            for index, entry in enumerate(function["lambda"].get(key) or ()):
                elsewhere = "topic" in entry or "arn" in (entry.get("queue") or {})
                if entry.get("storage_provider", "s3") == "s3" and not elsewhere:
                    yield ("functions", "aws", number, "lambda", key, index, "path")
