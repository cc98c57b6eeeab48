"""Fetching files from S3: several at once, each complete or not there, and none outside of the folder.

A key is what a stranger wrote. One that names no place below the target (`../x`, `a//b`, NUL) is refused with
a reason, and a link that leads out of the target is not followed.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scar_cli.aws.session import explain
from scar_cli.errors import UserError

_PART = 8 * 1024**2


@dataclass(frozen=True)
class Download:
    """An object, and the path below the target that it gets."""

    key: str
    below: str
    """With `/` between its parts, as they stand in the key."""
    size: int
    etag: str = ""


class UnsafeKeyError(ValueError):
    """The key names no file below the target; the text is the reason."""


def safe_path(target: Path, below: str) -> Path:
    """The place of a file below the target.

    Raises:
        UnsafeKeyError: the name is none, or leads out of the target.
    """
    parts = below.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise UnsafeKeyError("its key is no path of a file below a folder")
    if "\0" in below:
        raise UnsafeKeyError("its key holds a NUL character")
    path = target.joinpath(*parts)
    if not path.parent.resolve().is_relative_to(target.resolve()):
        raise UnsafeKeyError("a link leads out of the target folder there")
    if path.is_dir():
        raise UnsafeKeyError("there is a folder of that name")
    return path


def receive(
    s3: Any,
    bucket: str,
    downloads: Iterable[Download],
    *,
    place: Callable[[Download], Path],
    concurrency: int,
    advance: Callable[[int], None] = lambda _bytes: None,
) -> tuple[list[Download], dict[Download, str]]:
    """Fetch all; those that are there now, and those that failed, with the reason.

    `downloads` is read on while files arrive, so that the memory needed does not grow with a queue of them.
    `place` gives a file's path, or raises `UnsafeKeyError`.
    """
    from boto3.s3.transfer import TransferConfig

    config = TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART, max_concurrency=4)
    done: list[Download] = []
    failed: dict[Download, str] = {}
    interrupted = threading.Event()

    def moved(received: int) -> None:
        if interrupted.is_set():
            raise _InterruptedDownloadError
        advance(received)

    def fetch(download: Download) -> None:
        path = place(download)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".scar-get-", dir=path.parent)
        os.close(handle)
        partial = Path(name)
        try:
            s3.download_file(bucket, download.key, name, Callback=moved, Config=config)
            partial.chmod(0o666 & ~_umask())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    with ThreadPoolExecutor(concurrency) as pool:
        running: dict[Future[None], Download] = {}
        left = iter(downloads)
        try:
            while True:
                while len(running) < concurrency and (download := next(left, None)) is not None:
                    running[pool.submit(fetch, download)] = download
                if not running:
                    return done, failed
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    download = running.pop(future)
                    if (error := future.exception()) is None:
                        done.append(download)
                    else:
                        failed[download] = _reason(error)
        except BaseException:
            interrupted.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _reason(error: BaseException) -> str:
    if isinstance(error, UnsafeKeyError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    told = explain(error)
    return (told.cause if isinstance(told, UserError) else str(error)) or type(error).__name__


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    with _umask_lock:
        mask = os.umask(0o077)
        os.umask(mask)
        return mask


_umask_lock = threading.Lock()


class _InterruptedDownloadError(Exception):
    """Ends a download that is on its way."""
