"""The folder that an image is unpacked into, with paths resolved as in the container.

Names and existing symlinks are untrusted. Every access to the folder uses `parts` and `parent`, which stay
inside of it; `clear` removes an existing entry, and `whiteout` the entries of lower layers. `unpack` explains
the purpose of each check.
"""

# ruff: noqa: PTH102, PTH108, PTH115, PTH120, PTH208
# A tar's names are bytes, which pathlib does not know.

from __future__ import annotations

import os
import stat
from collections import deque
from pathlib import Path

from containers.errors import ErrorKind, ExplainedError
from containers.image.manifests import broken
from containers.removal import remove_tree

_MAXIMUM_LINKS = 40  # as the kernel bounds the symlinks of one path
_OPAQUE = b".wh..wh..opq"
WHITEOUT = b".wh."
_NO_NAMES = frozenset({b"", b".", b".."})
# Folders are cached, but not without limit: a name can be written in many ways (`./a`).
_PARENTS_REMEMBERED = 20_000
_LONGEST_REMEMBERED = 1024
# The paths of a large image's directories take a few megabytes. A million of the longest would take 4 GB.
_MAXIMUM_DIRECTORY_BYTES = 64 << 20


class Tree:
    """The folder `root`, which must exist and be empty; `what` names the image in messages.

    `directories` contains mode and time of each directory, to be set after everything is unpacked.
    """

    def __init__(self, root: Path, what: str) -> None:
        self.root = os.fsencode(root)
        self.directories: dict[bytes, tuple[int, float]] = {self.root: (0o755, 0.0)}
        self._what = what
        self._parents: dict[bytes, bytes] = {}
        self._directory_bytes = 0
        self._of_this_layer: set[int] = set()
        self._lower_layers = False

    def end_layer(self) -> None:
        """Everything that exists now belongs to lower layers."""
        self._lower_layers = True
        self._of_this_layer.clear()

    def place(self, name: bytes) -> tuple[bytes, bytes] | None:
        """The real directory for the entry `name`, made if it is missing, and the name in it; None for the
        root itself."""
        folder, _, base = name.rpartition(b"/")
        known = self._parents.get(folder)  # nearly always: the entry before was in the same one
        if known is not None and base not in _NO_NAMES and b"\0" not in base:
            return known, base
        parts = self.parts(name)
        if not parts:
            return None
        real = self.parent(parts[:-1])
        if parts[-1] == base:
            self._remember_parent(folder, real)
        return real, parts[-1]

    def parts(self, name: bytes) -> list[bytes]:
        """A name's components, none of which leads up. Raises ExplainedError (kind `UnsafeImage`)."""
        if b"\0" in name:
            raise unsafe(self._what, "it contains a name with a null byte")
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise unsafe(self._what, f"'{shown(name)}' points outside the image")
        return parts

    def parent(self, parts: list[bytes], *, create: bool = True) -> bytes:
        """The real directory that `parts` leads to inside the root, made if it is missing."""
        key = b"/".join(parts)
        known = self._parents.get(key)
        if known is not None:
            return known
        real: list[bytes] = []
        pending = deque(parts)
        links = 0
        while pending:
            part = pending.popleft()
            if part in (b"", b"."):
                continue
            if part == b"..":  # only from a symlink's target: above the root is the root
                del real[-1:]
                continue
            path = b"/".join([self.root, *real, part])
            try:
                kind = os.lstat(path).st_mode
            except FileNotFoundError:
                if not create:
                    raise
                os.mkdir(path, 0o700)
                self.add_directory(path, 0o1777 if part == b"tmp" else 0o755, 0.0)
                self.remember(path)
                kind = stat.S_IFDIR
            if stat.S_ISLNK(kind):
                links += 1
                if links > _MAXIMUM_LINKS:
                    raise unsafe(self._what, f"'{shown(key)}' is a loop of symlinks")
                target = os.readlink(path)
                if target.startswith(b"/"):
                    real = []
                pending.extendleft(reversed(target.split(b"/")))
            elif stat.S_ISDIR(kind):
                real.append(part)
            else:
                raise broken(f"'{shown(key)}' of {self._what} passes through a file that is not a directory")
        resolved = b"/".join([self.root, *real])
        self._remember_parent(key, resolved)
        return resolved

    def add_directory(self, path: bytes, mode: int, mtime: float) -> None:
        """Note what mode and time the directory `path` is to have.

        Raises ExplainedError (kind `UnsafeImage`) if there are too many to be noted."""
        if path not in self.directories:
            self._directory_bytes += len(path)
            if self._directory_bytes > _MAXIMUM_DIRECTORY_BYTES:
                raise unsafe(
                    self._what,
                    f"the paths of its directories take more than {_MAXIMUM_DIRECTORY_BYTES} bytes",
                )
        self.directories[path] = (mode, mtime)

    def _remember_parent(self, name: bytes, real: bytes) -> None:
        if len(name) > _LONGEST_REMEMBERED:
            return
        if len(self._parents) >= _PARENTS_REMEMBERED:
            self._parents.clear()
        self._parents[name] = real

    def clear(self, path: bytes) -> None:
        """Remove the entry at `path`, if it exists."""
        try:
            kind = os.lstat(path).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(kind):
            self._parents.clear()  # what led through this directory leads elsewhere from now on
            remove_tree(Path(os.fsdecode(path)))
        else:
            if stat.S_ISLNK(kind):
                self._parents.clear()
            os.unlink(path)

    def _remove_lower(self, path: bytes) -> None:
        """Remove the entries of lower layers at and below `path`, but none of this layer."""
        if not self._lower_layers:
            return
        if hash(path) not in self._of_this_layer:
            self.clear(path)
        elif stat.S_ISDIR(os.lstat(path).st_mode):
            for child in os.listdir(path):
                self._remove_lower(path + b"/" + child)

    def remember(self, path: bytes) -> None:
        """Record that the current layer contains `path` and its parents."""
        while self._lower_layers and path != self.root and hash(path) not in self._of_this_layer:
            self._of_this_layer.add(hash(path))
            path = path.rpartition(b"/")[0]

    def whiteout(self, parent: bytes, name: bytes) -> None:
        """Apply the whiteout file `name` in the directory `parent`."""
        if name == _OPAQUE:
            for child in os.listdir(parent):
                self._remove_lower(parent + b"/" + child)
            return
        hidden = name[len(WHITEOUT) :]  # of aufs: not the name of a file
        if hidden in (b"", b".", b".."):  # would remove the directory itself, or the one above it
            raise unsafe(self._what, f"it contains a whiteout for '{shown(hidden)}'")
        self._remove_lower(parent + b"/" + hidden)

    def real_directories(self) -> list[tuple[bytes, int, float]]:
        """Those of `directories` that still exist, with mode and time."""
        known: dict[bytes, bool] = {self.root: True}
        return [
            (path, *attributes)
            for path, attributes in self.directories.items()
            if self._is_real_directory(path, known)
        ]

    def _is_real_directory(self, path: bytes, known: dict[bytes, bool]) -> bool:
        """Whether `path` and all above it up to the root are directories, none of them a symlink."""
        answer = known.get(path)
        if answer is None:
            try:
                answer = self._is_real_directory(os.path.dirname(path), known) and stat.S_ISDIR(
                    os.lstat(path).st_mode
                )
            except OSError:
                answer = False
            known[path] = answer
        return answer


def unsafe(what: str, why: str) -> ExplainedError:
    """The error for an image with unsafe entries."""
    return ExplainedError(
        f"{what} is not safe to unpack: {why}",
        advice="Use an image from someone you trust, built by a current docker, podman or buildah",
        kind=ErrorKind.UNSAFE_IMAGE,
    )


def shown(name: bytes) -> str:
    """An untrusted name, escaped for a log line."""
    return ascii(name.decode("utf-8", "surrogateescape"))[1:-1][:200]
