"""An unpacked image made fit for engines that cannot mount: read-only by its modes, right when seen from
outside."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from runtime.errors import RunnerError
from runtime.images.store import remove_tree

WRITABLE = ("/tmp", "/var/tmp", "/run")  # noqa: S108 - the image's, not ours
_MARK = "read-only"


def prepare_root(root: Path) -> None:
    """Make absolute symlinks relative and take write permission from all; once for each image.

    A relative link means the same inside; an absolute one (`/etc/alternatives/...`) would lead the kernel,
    which knows nothing of our root, to the host's file. So would a `..` too many.
    """
    mark = root.parent / _MARK
    if mark.exists():
        return
    for folder, names, files in os.walk(root, topdown=False):
        depth = len(Path(folder).relative_to(root).parts)
        for name in (*names, *files):
            path = Path(folder) / name
            kind = path.lstat().st_mode
            if stat.S_ISLNK(kind):
                _make_relative(path, depth)
            else:
                path.chmod(stat.S_IMODE(kind) & ~0o222)
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
                _make_removable(child)
                remove_tree(child)


def make_folder(root: Path, inside: str) -> Path:
    """The container's folder `inside`, made although the image is read-only (WORKDIR need not exist)."""
    path = root
    for part in (part for part in inside.split("/") if part not in ("", ".", "..")):
        parent, path = path, path / part
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise RunnerError(
                f"the working directory {inside} cannot be made: {part} is no folder",
                advice="Correct WORKDIR in the image's Dockerfile",
                kind="BadImage",
            )
        if not path.exists():
            mode = stat.S_IMODE(parent.stat().st_mode)
            parent.chmod(mode | 0o200)
            path.mkdir(mode=0o755)
            parent.chmod(mode)
    return path


def _make_relative(path: Path, depth: int) -> None:
    """Rewrite the link at `path`, `depth` folders below the root, if it leads the kernel out of the root."""
    target = os.readlink(path)  # noqa: PTH115 - Path.readlink would tidy up what is compared below
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    if not target.startswith("/") and up <= depth:
        return
    mode = stat.S_IMODE(path.parent.stat().st_mode)
    path.parent.chmod(mode | 0o700)
    path.unlink()
    path.symlink_to("/".join([*[".."] * depth, *parts[up:]]) or ".")
    path.parent.chmod(mode)


def _make_removable(folder: Path) -> None:
    for path, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            Path(path).chmod(0o700)
