"""Paths as the container sees them, looked up from outside."""

from __future__ import annotations

import stat
from collections import deque
from pathlib import Path

_MAXIMUM_LINKS = 40


def resolve_in_root(root: Path, path: str) -> Path | None:
    """The real place of the container's `path` under `root`, symlinks resolved as inside; None if it does not
    exist.

    An image's `/bin/sh -> /usr/bin/dash` must not be looked up in the host's /usr, and `/x ->
    ../../etc/shadow` must not leave the root; so every symlink is followed by hand, with the root as the
    place that `/` and the uppermost `..` mean.
    """
    real: list[str] = []
    pending = deque(path.split("/"))
    links = 0
    while pending:
        part = pending.popleft()
        if part in ("", "."):
            continue
        if part == "..":
            del real[-1:]
            continue
        here = root.joinpath(*real, part)
        try:
            kind = here.lstat().st_mode
        except OSError:
            return None
        if stat.S_ISLNK(kind):
            links += 1
            if links > _MAXIMUM_LINKS:
                return None
            target = str(here.readlink())
            if target.startswith("/"):
                real = []
            pending.extendleft(reversed(target.split("/")))
        else:
            if pending and not stat.S_ISDIR(kind):
                return None
            real.append(part)
    return root.joinpath(*real)
