"""USER of an image, looked up in the image's own /etc/passwd and /etc/group, as Docker does.

`USER name`, `USER uid`, either with `:group` or `:gid`. A number needs no entry; a name does.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from containers.engines.contract import ContainerProcess
from containers.errors import ErrorKind, ExplainedError
from containers.paths import resolve_in_root

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MAXIMUM_BYTES = 1 << 20
_LARGEST_ID = 2**31 - 1
_WRITE_AND_ENTER = 0o3


@dataclass(frozen=True)
class ContainerUser:
    """Numeric ids, and the home directory that HOME is set to."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def look_up_user(root: Path, user: str) -> ContainerUser:
    """The user named by `user` (empty: root) in the image at `root`. Raises ExplainedError (kind
    `UnknownUser`)."""
    name, separator, group = user.partition(":")
    name = name or "0"
    entry = _find(_entries(root, "/etc/passwd", 7), name)
    uid = int(entry[2]) if entry else _number(name, user, "user")
    gid = int(entry[3]) if entry else 0
    home = (entry[5] if entry else "") or "/"
    groups: tuple[int, ...] = ()
    all_groups = _entries(root, "/etc/group", 4)
    if separator and group:
        found = _find(all_groups, group)
        gid = int(found[2]) if found else _number(group, user, "group")
    elif entry:
        groups = tuple(int(line[2]) for line in all_groups if entry[0] in line[3].split(","))
    if not (0 <= uid <= _LARGEST_ID and 0 <= gid <= _LARGEST_ID):
        raise _unknown(user, "its number is out of range")
    return ContainerUser(uid, gid, groups, home)


def complete_environment(
    process: ContainerProcess, user: ContainerUser, is_writable: Callable[[Path], bool]
) -> dict[str, str]:
    """The process's `env` with PATH and HOME, which Docker provides if the image does not, and with the spare
    home if HOME is not a writable folder for the container, according to `is_writable` for a path on this
    machine."""
    env = {"PATH": DEFAULT_PATH, "HOME": user.home, **process.env}
    if process.spare_home is not None:
        home = resolve_in_root(process.root.path, env["HOME"]) if env["HOME"] else None
        if home is None or not is_writable(home):
            env["HOME"] = process.spare_home
    return env


def permissions_allow(folder: Path, uid: int, groups: Iterable[int]) -> bool:
    """Whether a user without privileges may make files in a folder, going by its owner and mode."""
    try:
        status = folder.stat()
    except OSError:
        return False
    shift = 6 if status.st_uid == uid else 3 if status.st_gid in groups else 0
    return stat.S_ISDIR(status.st_mode) and (status.st_mode >> shift) & _WRITE_AND_ENTER == _WRITE_AND_ENTER


def this_user_may_write(folder: Path) -> bool:
    """`permissions_allow` of this process's user and group."""
    return permissions_allow(folder, os.geteuid(), [os.getegid()])


def _find(entries: list[list[str]], name: str) -> list[str] | None:
    """The entry whose name, or else whose number, is `name`."""
    by_name = (entry for entry in entries if entry[0] == name)
    by_number = (entry for entry in entries if entry[2] == name)
    return next(by_name, None) or next(by_number, None)


def _entries(root: Path, path: str, fields: int) -> list[list[str]]:
    real = resolve_in_root(root, path)
    if real is None:
        return []
    # The image's author may have put a FIFO or something endless there: it must neither block nor fill the
    # memory.
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        content = os.read(descriptor, _MAXIMUM_BYTES) if regular else b""
    finally:
        os.close(descriptor)
    entries = [line.split(":") for line in content.decode("utf-8", "replace").splitlines()]
    numbers = slice(2, 4) if fields == 7 else slice(2, 3)  # noqa: PLR2004 - passwd has seven fields, group four
    return [entry for entry in entries if len(entry) >= fields and all(map(_is_id, entry[numbers]))]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(_LARGEST_ID))


def _number(text: str, user: str, what: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text[:12])
    raise _unknown(user, f"the image has no {what} '{text}'")


def _unknown(user: str, why: str) -> ExplainedError:
    return ExplainedError(
        f"the container cannot run as USER {user}: {why}",
        advice="Correct USER in the image's Dockerfile, or add the user to its /etc/passwd",
        kind=ErrorKind.UNKNOWN_USER,
    )
