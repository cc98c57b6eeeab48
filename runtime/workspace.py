"""The folder of one invocation, `$SCAR_STORE/run/<id>`. It is never shared, and always removed.

    input/    TMP_INPUT_DIR: the input file, and nothing else
    output/   TMP_OUTPUT_DIR: the files here are uploaded
    home/     HOME, and in assembled images the working directory, if the image's own is not writable
    tmp/      TMPDIR
    script    the script that runs, if any

The container sees the folder at the same path. A killed runner cannot clean up, and Lambda may keep `/tmp`
for later invocations, so every runner first removes abandoned folders: a running owner holds a lock (`flock`)
on its folder, which ends with the process. On the embedded cloud and in tests, several runners share the
store; `run/.lock` prevents one from removing a folder that another has created but not yet locked.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from containers.errors import ErrorKind, ExplainedError
from containers.removal import remove_tree

MIB = 1024 * 1024
NAME_LIMIT = 255
"""Bytes of a file's name on Linux's file systems (NAME_MAX)."""
LARGEST_EPHEMERAL_STORAGE_MIB = 10240
DISK_RESERVE = 8 * MIB


@dataclass(frozen=True, slots=True)
class Workspace:
    """The paths, on this machine and in the container alike."""

    path: Path
    input: Path
    """TMP_INPUT_DIR."""
    output: Path
    """TMP_OUTPUT_DIR."""
    home: Path
    """A writable home folder."""
    temporary: Path
    """TMPDIR."""
    script: Path

    @classmethod
    def at(cls, path: Path) -> Workspace:
        """The paths below `path`."""
        return cls(path, *(path / name for name in ("input", "output", "home", "tmp", "script")))


@contextmanager
def new_workspace(store: Path) -> Iterator[Workspace]:
    """Create the folder of one invocation, and remove it at the end in any case."""
    runs = store / "run"
    try:
        # The names of the folders cannot be guessed, and other users may enter but not list: this keeps out
        # other users of a shared machine, while the user of a container, whatever its id, can reach its
        # files.
        runs.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):
            runs.chmod(0o711)
        with _locked(runs / ".lock"):
            abandoned = _set_aside_abandoned(runs)
            workspace = Workspace.at(runs / secrets.token_hex(16))
            for folder, mode in (
                (workspace.path, 0o711),
                (workspace.input, 0o755),
                (workspace.output, 0o777),
                (workspace.home, 0o777),
                (workspace.temporary, 0o1777),
            ):
                folder.mkdir()
                folder.chmod(mode)
            held = os.open(workspace.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(held, fcntl.LOCK_EX)
    except OSError as error:
        raise explain_os_error(
            error, store, f"The folder for the run could not be created in {runs}"
        ) from None
    try:
        for folder in abandoned:
            remove_tree(folder)
        yield workspace
    finally:
        remove_tree(workspace.path)
        os.close(held)


def file_name(base_name: str) -> str:
    """The file name for an object's base name: the same name, if it is possible for a file.

    `.`, `..` and the empty name become `input`. A name of more than 255 bytes is shortened before its suffix,
    which programs rely on. A base name contains no `/`, and `events` rejects NUL, so no other name can point
    outside the folder.
    """
    if base_name in ("", ".", ".."):
        return "input"
    if len(base_name.encode()) <= NAME_LIMIT:
        return base_name
    stem, dot, suffix = base_name.rpartition(".")
    ending = dot + suffix
    if not stem or len(ending.encode()) > NAME_LIMIT // 2:
        stem, ending = base_name, ""
    return stem.encode()[: NAME_LIMIT - len(ending.encode())].decode(errors="ignore") + ending


def require_space(folder: Path, size: int, what: str) -> None:
    """Raise `ExplainedError` of kind `DiskFull` if `size` bytes do not fit on the disk of `folder`."""
    usage = shutil.disk_usage(folder)
    if size + DISK_RESERVE <= usage.free:
        return
    raise ExplainedError(
        f"{what} needs {_amount(size)}, but the disk of {folder} has {_amount(usage.free)} free "
        f"of {_amount(usage.total)}",
        advice=_more_disk(usage.total - usage.free + size + DISK_RESERVE),
        kind=ErrorKind.DISK_FULL,
    )


def explain_os_error(error: OSError, folder: Path, what: str) -> ExplainedError:
    """The explained error for an error of the operating system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ExplainedError(
            f"{what}: the disk of {folder} is full", advice=_more_disk(None), kind=ErrorKind.DISK_FULL
        )
    return ExplainedError(f"{what}: {error}", kind=ErrorKind.SYSTEM_ERROR)


def is_full(folder: Path) -> bool:
    """Whether there is practically no space left, which is then the likely cause of a failure."""
    return shutil.disk_usage(folder).free < MIB


def _amount(size: int) -> str:
    return f"{size / MIB:,.0f} MiB"


def _more_disk(needed: int | None) -> str:
    enough = f" to {-(-needed // MIB)} or more" if needed is not None else ""
    if needed is not None and needed > LARGEST_EPHEMERAL_STORAGE_MIB * MIB:
        return "Lambda's largest `ephemeral_storage` is 10240 MiB: use `execution_mode: batch`."
    return f"Raise the function's `ephemeral_storage` (MiB){enough}, or use `execution_mode: batch`."


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _set_aside_abandoned(runs: Path) -> list[Path]:
    """Rename the folders without a running owner, so that they can be removed without holding the lock."""
    found = []
    for folder in runs.iterdir():
        if folder.name == ".lock":
            continue
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # another user's, or just removed
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            aside = runs / f"abandoned-{secrets.token_hex(8)}"
            folder.rename(aside)
            found.append(aside)
        except OSError:
            continue
        finally:
            os.close(handle)
    return found
