"""An unpacked image made fit for engines that cannot mount: read-only by its modes, right when seen from
outside."""

# ruff: noqa: PTH101, PTH108, PTH115, PTH120, PTH211
# There are tens of thousands of files, and pathlib takes longer than the kernel.

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from containers.errors import ErrorKind, ExplainedError
from containers.removal import remove_tree

WRITABLE = ("/tmp", "/var/tmp", "/run")  # noqa: S108 - the image's, not ours
_MARK = "read-only"


def prepare_root(root: Path) -> None:
    """Make absolute symlinks relative and take write permission from all; once for each image.

    A relative link means the same inside; an absolute one (`/etc/alternatives/...`) would lead the kernel,
    which does not use our root, to the host's file. So would an excess `..`.
    """
    mark = root.parent / _MARK
    if mark.exists():
        return
    folders = [(str(root), 0)]
    for folder, depth in folders:  # grows on the way
        with contextlib.suppress(PermissionError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    _make_relative(entry.path, depth)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append((entry.path, depth + 1))
                else:
                    os.chmod(entry.path, stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode) & ~0o222)
    for folder, _ in reversed(folders):
        os.chmod(folder, stat.S_IMODE(os.lstat(folder).st_mode) & ~0o222)
    root.chmod(0o555)
    empty_writable_folders(root)
    mark.touch()


def empty_writable_folders(root: Path) -> None:
    """Give /tmp, /var/tmp and /run back as they were: real folders, writable, with nothing in them."""
    for name in WRITABLE:
        # Not looked up through links: an image's `/var/tmp -> /tmp` is emptied there, a link elsewhere is
        # left alone.
        path = root / name[1:]
        if path.is_symlink() or path.parent.is_symlink() or not path.is_dir():
            continue
        path.chmod(0o1777)
        for child in path.iterdir():
            if child.is_symlink() or not child.is_dir():
                child.unlink()
            else:
                remove_tree(child)


def make_folder(root: Path, inside: str) -> Path:
    """The container's folder `inside`, made although the image is read-only (WORKDIR need not exist)."""
    path = root
    for part in (part for part in inside.split("/") if part not in ("", ".", "..")):
        parent, path = path, path / part
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise ExplainedError(
                f"the working directory {inside} cannot be created: {part} is not a folder",
                advice="Correct WORKDIR in the image's Dockerfile",
                kind=ErrorKind.BAD_IMAGE,
            )
        if not path.exists():
            mode = stat.S_IMODE(parent.stat().st_mode)
            parent.chmod(mode | 0o200)
            path.mkdir(mode=0o755)
            parent.chmod(mode)
    return path


def _make_relative(path: str, depth: int) -> None:
    """Rewrite the link at `path`, whose folder is `depth` levels below the root, if it leads out of it."""
    target = os.readlink(path)
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    if not target.startswith("/") and up <= depth:
        return
    folder = os.path.dirname(path)
    mode = stat.S_IMODE(os.lstat(folder).st_mode)
    os.chmod(folder, mode | 0o700)
    os.unlink(path)
    os.symlink("/".join([*[".."] * depth, *parts[up:]]) or ".", path)
    os.chmod(folder, mode)
