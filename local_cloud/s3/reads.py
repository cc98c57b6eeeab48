"""A request for a range reads this range of the file, and not the whole object as in ministack.

boto3 downloads in ranges of 8 MB: a file of 2 GB was read 256 times.
"""

from __future__ import annotations

import contextvars
from pathlib import Path
from typing import Any

from ministack.services import s3

from local_cloud.patches import Original, replaces

_wants_range: contextvars.ContextVar[bool] = contextvars.ContextVar("wants_range", default=False)


def install() -> None:
    """Take the place of ministack's GetObject and of how it reads a file."""

    @replaces(s3, "_get_object")
    def get_object_by_range(
        get_object: Original,
        bucket: str,
        key: str,
        headers: dict[str, str],
        query: dict[str, Any] | None = None,
    ) -> Any:
        by_part = bool(query and "partNumber" in query)
        token = _wants_range.set(bool(headers.get("range")) and not by_part)
        try:
            return get_object(bucket, key, headers, query)
        finally:
            _wants_range.reset(token)

    @replaces(s3, "_read_body")
    def read_file(read_body: Original, bucket: str, key: str, record: dict[str, Any]) -> Any:
        if _wants_range.get() and record.get("body") is None:
            path = s3._object_disk_path(bucket, key)
            if path is not None and Path(path).is_file():
                return _File(path)
        return read_body(bucket, key, record)


class _File:
    """As much of `bytes` as GetObject needs for a range: `[start:end]`."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __getitem__(self, part: slice) -> bytes:
        start, end, _step = part.indices(Path(self._path).stat().st_size)
        with Path(self._path).open("rb") as file:
            file.seek(start)
            return file.read(max(0, end - start))
