"""The files in TMP_OUTPUT_DIR → where each of them is uploaded.

All files are checked before the first byte is uploaded, so that a name that cannot be a key fails the run
while nothing is visible yet. The folder was written by the user's program, and may contain anything:

- a symlink to a file inside of the folder is followed, and uploaded under its own name; one that points
  outside (to files of the machine) or to a folder (it may be a loop) is skipped, with a log line;
- sockets, pipes and devices are skipped, with a log line: opening one could block forever;
- a name that is not UTF-8, or longer than a key, fails the run with an error that names it.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from containers.errors import ErrorKind, ExplainedError
from runtime.config import StorageConnection, StorageFolder
from runtime.logs import Log
from runtime.storage.contract import Upload
from runtime.storage.kinds import open_storage

KEY_LIMIT = 1024
"""Bytes of a key (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html)."""


def plan_uploads(
    folder: Path,
    outputs: Sequence[StorageFolder],
    log: Log,
    *,
    claim: str | None = None,
    traceparent: str | None = None,
) -> dict[str, list[Upload]]:
    """What to upload, by storage provider; on provider `s3` under a claim (`once`), if there is one.

    Objects get the metadata `traceparent`.

    Raises `ExplainedError` (`OutputName`, `OutputFolderGone`).
    """
    if folder.is_symlink() or not folder.is_dir():
        raise ExplainedError(
            "The container removed TMP_OUTPUT_DIR, or replaced it",
            advice="Write into the folder, but do not remove or replace it.",
            kind=ErrorKind.OUTPUT_FOLDER_GONE,
        )
    plan: dict[str, dict[tuple[str, str], Upload]] = {}
    homeless: list[str] = []
    for name, file in _files(folder, log):
        targets = [output for output in outputs if output.accepts(name.rpartition("/")[2])]
        if not targets:
            homeless.append(name)
        for target in targets:
            key = target.key_prefix + name
            if len(key.encode()) > KEY_LIMIT:
                raise _too_deep(f"The output file {name!r}", f"a key of {len(key.encode())} bytes")
            own_claim = claim if target.provider == "s3" else None
            upload = Upload(file, target.bucket, key, file.stat().st_size, own_claim, traceparent)
            # Two outputs may be the same folder, with different filters.
            plan.setdefault(target.provider, {})[target.bucket, key] = upload
    if homeless:
        log.warning(
            "outputs not uploaded",
            reason="no output of the function accepts a file with this name",
            count=len(homeless),
            files=homeless[:10],
        )
    return {provider: list(uploads.values()) for provider, uploads in plan.items()}


def upload_all(
    plan: dict[str, list[Upload]], providers: Mapping[str, StorageConnection], until: float = math.inf
) -> None:
    """Upload everything; return when all files are uploaded. Raises `ExplainedError`, of kind `TimedOut` if
    that is not possible, or did not happen, before `until` (`time.monotonic`).

    The function's own buckets are last: a file there may start the next function of the workflow, which must
    not happen while another upload can still fail the run.
    """
    storages = {
        provider: open_storage(provider, providers)
        for provider in sorted(plan, key=lambda name: name == "s3")
    }
    for provider, storage in storages.items():
        storage.require_time(plan[provider], until)
    for provider, storage in storages.items():
        storage.upload(plan[provider], until)


def _files(folder: Path, log: Log) -> Iterator[tuple[str, Path]]:
    """(name relative to the folder, file to read), folder by folder, in the order of the names.

    Without recursion: a script may nest a thousand folders, which is more than Python's stack holds.
    """
    inside = folder.resolve()
    folders = [""]
    while folders:
        current = folders.pop()
        for entry in _entries(folder, current):
            relative = f"{current}/{entry.name}" if current else entry.name
            target = Path(entry.path)
            if entry.is_symlink():
                found = _inside(target, inside)
                if found is None:
                    log.warning(
                        "output skipped",
                        file=relative,
                        reason="a symlink that points outside, to a folder, or to a missing file",
                    )
                    continue
                target = found
            elif entry.is_dir():
                folders.append(relative)
                continue
            elif not entry.is_file():
                log.warning("output skipped", file=relative, reason="not a regular file")
                continue
            yield _key_text(relative), _readable(target)


def _entries(folder: Path, current: str) -> list[os.DirEntry[str]]:
    """The content of the sub-folder `current`. Unreadable files must not be skipped silently."""
    try:
        with os.scandir(folder / current) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise _too_deep(f"The output folder {current!r}", "a path that is too long for Linux") from None
        raise ExplainedError(
            f"A folder of the outputs cannot be read: {error}",
            advice="Make the folders in TMP_OUTPUT_DIR readable.",
            kind=ErrorKind.OUTPUT_UNREADABLE,
        ) from None


def _too_deep(what: str, has: str) -> ExplainedError:
    return ExplainedError(
        f"{what} would get {has}",
        advice=f"Keys have up to {KEY_LIMIT} bytes: use shorter names and fewer folders.",
        kind=ErrorKind.OUTPUT_NAME,
    )


def _inside(link: Path, inside: Path) -> Path | None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return target if target.is_relative_to(inside) and target.is_file() else None


def _readable(file: Path) -> Path:
    if not os.access(file, os.R_OK):
        file.chmod(0o600)
    return file


def _key_text(relative: str) -> str:
    try:
        relative.encode()
    except UnicodeEncodeError:
        raise ExplainedError(
            f"The output file {relative!a} has a name that is not UTF-8",
            advice="Keys are UTF-8 text: rename the file in the script.",
            kind=ErrorKind.OUTPUT_NAME,
        ) from None
    return relative
