"""The folder of one invocation, `$SCAR_STORE/run/<id>`: never shared, always removed.

    input/    TMP_INPUT_DIR: the input file, and nothing else
    output/   TMP_OUTPUT_DIR: what the container leaves here is uploaded
    home/     HOME, and in assembled images the working directory, where the image's own cannot be written to
    tmp/      TMPDIR
    script    what runs, if a script does

The container sees the folder at the very same path. A runner that is killed cannot clean up, and Lambda
may keep `/tmp` for its next invocations, so every runner first removes the folders whose owners are gone:
a living owner holds a lock (`flock`) on its folder, and a lock ends with its process. On the embedded
cloud and in tests several runners share the store; `run/.lock` keeps one from sweeping a folder that
another has made but not yet locked.
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

    @property
    def input(self) -> Path:
        """TMP_INPUT_DIR."""
        return self.path / "input"

    @property
    def output(self) -> Path:
        """TMP_OUTPUT_DIR."""
        return self.path / "output"

    @property
    def home(self) -> Path:
        """A place to write to for programs that want a home."""
        return self.path / "home"

    @property
    def temporary(self) -> Path:
        """TMPDIR."""
        return self.path / "tmp"

    @property
    def script(self) -> Path:
        """Where a script is put."""
        return self.path / "script"


@contextmanager
def new_workspace(store: Path) -> Iterator[Workspace]:
    """Make the folder of one invocation, and remove it at the end, whatever happened."""
    runs = store / "run"
    try:
        # The folders' names cannot be guessed, and others may pass but not list: that keeps strangers of a
        # shared machine out, while a container's own user, whatever its number, gets to its files.
        runs.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):
            runs.chmod(0o711)
        with _locked(runs / ".lock"):
            abandoned = _set_aside_abandoned(runs)
            workspace = Workspace(runs / secrets.token_hex(16))
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
    """The name on disk of an object's base name: the same, wherever a file can have it.

    `.`, `..` and the empty name stand for folders and become `input`. A name of over 255 bytes loses the
    end of its stem, so that the suffix, which programs go by, stays. A base name holds no `/`, and
    `events` refuses NUL, so that nothing else can lead out of the folder.
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
    """The error of a person for one of the operating system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ExplainedError(
            f"{what}: the disk of {folder} is full", advice=_more_disk(None), kind=ErrorKind.DISK_FULL
        )
    return ExplainedError(f"{what}: {error}", kind=ErrorKind.SYSTEM_ERROR)


def is_full(folder: Path) -> bool:
    """Is there practically nothing left? A container that failed then most likely failed of this."""
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
    """Rename the folders without a living owner, so that they can be removed without holding the lock."""
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
