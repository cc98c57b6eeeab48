"""Paths as the container sees them, looked up from outside."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

_Found = TypeVar("_Found")

_MAXIMUM_LINKS = 40


def resolve_in_root(root: Path, path: str) -> Path | None:
    """The host path of the container's `path` under `root`, with symlinks resolved as inside; None if it does
    not exist.

    An image's `/bin/sh -> /usr/bin/dash` must not be looked up in the host's /usr, and `/x ->
    ../../etc/shadow` must not leave the root; so every symlink is followed in this code, with the root as the
    meaning of `/` and of the topmost `..`.
    """
    real = root
    try:
        for parts, here, is_last in follow_links(path, root.joinpath, _link_target):
            if not is_last and not stat.S_ISDIR(here.lstat().st_mode):
                return None
            real = root.joinpath(*parts)
    except OSError:
        return None
    return real


def follow_links(
    path: str, look_up: Callable[..., _Found], target_of: Callable[[_Found], str | None]
) -> Iterator[tuple[tuple[str, ...], _Found, bool]]:
    """Each component on the way to `path`, with symlinks followed as inside: the parts of its real path, what
    `look_up(*parts)` finds there, and whether it is the last one. `target_of` returns the target of a link.

    Raises:
        OSError: `ELOOP`, after too many links; and what the two functions raise.
    """
    real: list[str] = []
    pending = deque(path.split("/"))
    links = 0
    while pending:
        part = pending.popleft()
        if part in ("", "."):
            continue  # at the end, they require a directory: the part before them is not the last
        if part == "..":
            del real[-1:]
        else:
            real.append(part)
        found = look_up(*real)
        target = target_of(found)
        if target is None:
            yield tuple(real), found, not pending
            continue
        links += 1
        if links > _MAXIMUM_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        del real[0 if target.startswith("/") else -1 :]
        pending.extendleft(reversed(target.split("/")))


def _link_target(path: Path) -> str | None:
    return str(path.readlink()) if stat.S_ISLNK(path.lstat().st_mode) else None
