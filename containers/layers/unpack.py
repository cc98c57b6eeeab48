"""Unpacks untrusted layers into a folder.

Layers are applied from the bottom up, each as a stream (OCI image-spec, layer.md): entries replace what a
lower layer left at the same path, whiteouts remove it. All effects of a layer are limited to the root.
The checks, and what each one stops:

- Names are made relative; `..` in a name is rejected. Stops writing to `/etc/cron.d/x` or `../../x` of the
  host.
- Every parent directory is resolved inside the root, symlink by symlink, as the container itself would see
  it. Stops `link -> /etc`, then `link/passwd`; and keeps `lib -> usr/lib` working.
- Files are created with O_EXCL and O_NOFOLLOW after an existing entry was removed. Stops writing through a
  symlink or hard link that an earlier entry created under the same name.
- Hard links must point to a file inside the root. Stops creating a second, writable name for files of the
  host.
- Attributes of directories are set last, and only if no part of their path has meanwhile become a symlink.
  Stops `chmod` of the host's directories by swapping a parent for a link.
- Set-uid, set-gid, file capabilities and device nodes are left out. Stops a helper binary of an image from
  giving more privileges to users with access to the store.
- Bytes are counted against the free disk, entries and the paths of directories against limits; of extended
  headers, only supported keys are kept. Stops decompression bombs, including those for the memory.

No other process writes to the tree while it is unpacked (it is a private folder), so a checked path does not
change; names are bytes throughout, because a tar's names need not be UTF-8.
"""

# ruff: noqa: PTH101, PTH102, PTH211
# A tar's names are bytes, which pathlib does not know.

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from containers.image.manifests import broken
from containers.image.origin import Layer
from containers.layers.reader import LayerReader, read_ahead
from containers.layers.tar_header import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    TarEntry,
)
from containers.layers.tar_stream import TarStream
from containers.layers.tree import WHITEOUT, Tree, shown, unsafe

MAXIMUM_ENTRIES = 1_000_000  # a large image has 200 000; names of a million fit in memory, inodes usually too
_MAXIMUM_SKIPPED = 1 << 30  # skipped data costs time, not disk space: it is still bounded
_CHARGED_AT_ONCE = 1 << 20
_PERMISSIONS = 0o777
_LARGEST_ID = 2**32 - 2
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpacker:
    """Applies layers to the folder `root`, which must exist and be empty.

    `charge(bytes)` is called before that many bytes are written (in steps of up to a mebibyte); it raises if
    the disk would be full.
    """

    def __init__(
        self, root: Path, *, charge: Callable[[int], None], what: str, maximum_entries: int = MAXIMUM_ENTRIES
    ) -> None:
        self._tree = Tree(root, what)
        self._charge = charge
        self._what = what
        self._maximum_entries = maximum_entries
        self._entries = 0
        self._uncharged = 0
        self._skipped = 0
        self._set_owners = os.geteuid() == 0
        self._own_ids = (os.geteuid(), os.getegid())
        self._umask = process_umask()

    def apply(self, *layers: Layer) -> None:
        """Unpack layers on top of each other and of those before. Raises ExplainedError (kinds `UnsafeImage`,
        `BadImage`, …)."""
        what = f"a layer of {self._what}"
        with contextlib.closing(read_ahead(layers, what)) as readers:
            for reader in readers:
                self._apply(reader, what)

    def _apply(self, reader: LayerReader, what: str) -> None:
        tar = TarStream(reader, what)
        for entry in tar:
            self._count(entry)
            self._apply_entry(entry, tar)
        reader.finish()
        self._charge(self._uncharged)
        self._uncharged = 0
        self.end_layer()

    def adopt_directory(self, path: bytes, like: os.stat_result) -> None:
        """Take the directory `path`, which a caller has made, for one of a lower layer, with the owner, mode
        and time of `like`."""
        if self._set_owners and (like.st_uid, like.st_gid) != self._own_ids:
            os.chown(path, like.st_uid, like.st_gid, follow_symlinks=False)
        self._tree.add_directory(path, stat.S_IMODE(like.st_mode), like.st_mtime)

    def end_layer(self) -> None:
        """Everything that exists now belongs to lower layers."""
        self._tree.end_layer()

    def finish(self) -> None:
        """Set modes and times of directories, and add the mount points that every container needs."""
        for name in (b"dev", b"proc", b"sys", b"tmp", b"etc", b"run", b"var/tmp"):
            self._tree.parent(name.split(b"/"))
        for name in (b"hosts", b"resolv.conf"):  # the host's are bound over them
            path = self._tree.parent([b"etc"]) + b"/" + name
            if not os.path.lexists(path):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        for path, mode, mtime in self._tree.real_directories():
            os.chmod(path, mode)
            os.utime(path, (mtime, mtime))

    # -- one entry

    def _count(self, entry: TarEntry) -> None:
        self._entries += 1
        if self._entries > self._maximum_entries:
            raise unsafe(self._what, f"it contains more than {self._maximum_entries} files")
        self._count_bytes(4096)
        if entry.kind not in _KINDS:
            self._skipped += entry.stored
            if self._skipped > _MAXIMUM_SKIPPED:
                raise unsafe(
                    self._what, "it contains more than a gigabyte of data that is not part of a file"
                )

    def _count_bytes(self, size: int) -> None:
        """Charge what really arrives: a header may claim 2^62 bytes, for which the store would evict all
        other images."""
        self._uncharged += size
        if self._uncharged >= _CHARGED_AT_ONCE:
            self._charge(self._uncharged)
            self._uncharged = 0

    def _apply_entry(self, entry: TarEntry, tar: TarStream) -> None:
        try:
            place = self._tree.place(entry.name)
            if place is None:
                if entry.kind == DIRECTORY:
                    self._tree.add_directory(self._tree.root, _mode(entry, directory=True), _time(entry))
                return
            parent, name = place
            if name.startswith(WHITEOUT):
                self._tree.whiteout(parent, name)
                return
            path = parent + b"/" + name
            if self._create(entry, path, tar):
                self._tree.remember(path)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise broken(
                f"'{shown(entry.name)}' of {self._what} cannot be unpacked: {error.strerror}"
            ) from error

    def _create(self, entry: TarEntry, path: bytes, tar: TarStream) -> bool:
        """Create what `entry` describes at `path`; False if this kind of entry is left out."""
        if entry.kind == REGULAR:
            self._regular_file(entry, path, tar)
        elif entry.kind == DIRECTORY:
            self._directory(entry, path)
        elif entry.kind == SYMLINK:
            if not entry.link or b"\0" in entry.link:
                raise unsafe(self._what, f"'{shown(entry.name)}' is a symlink without a target")
            self._tree.clear(path)
            os.symlink(entry.link, path)
            self._own(path, entry)
        elif entry.kind == HARD_LINK:
            self._hard_link(entry, path)
        elif entry.kind == FIFO:
            self._tree.clear(path)
            os.mkfifo(path, _mode(entry))
            self._own(path, entry)
        else:  # device nodes (the engine provides /dev), and kinds that only other systems know
            return False
        return True

    def _regular_file(self, entry: TarEntry, path: bytes, tar: TarStream) -> None:
        mode = _mode(entry)
        try:
            descriptor = os.open(path, _NEW_FILE, mode)
        except FileExistsError:
            self._tree.clear(path)
            descriptor = os.open(path, _NEW_FILE, mode)
        try:
            tar.copy_data(entry, descriptor, self._count_bytes)
            self._own(descriptor, entry)
            if mode & self._umask:
                os.fchmod(descriptor, mode)
            moment = _time(entry)
            os.utime(descriptor, (moment, moment))  # Python checks its compiled files by their source's time
        finally:
            os.close(descriptor)

    def _directory(self, entry: TarEntry, path: bytes) -> None:
        fresh = True
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            fresh = not stat.S_ISDIR(os.lstat(path).st_mode)  # a symlink to a directory is replaced, too
            if fresh:
                self._tree.clear(path)
                os.mkdir(path, 0o700)
        self._own(path, entry, fresh=fresh)
        self._tree.add_directory(path, _mode(entry, directory=True), _time(entry))

    def _hard_link(self, entry: TarEntry, path: bytes) -> None:
        parts = self._tree.parts(entry.link)
        if not parts:
            raise unsafe(self._what, f"'{shown(entry.name)}' is a hard link to the root")
        try:
            target = self._tree.parent(parts[:-1], create=False) + b"/" + parts[-1]
            kind = os.lstat(target).st_mode
        except FileNotFoundError:
            raise broken(
                f"'{shown(entry.name)}' of {self._what} links to '{shown(entry.link)}', which does not exist"
            ) from None
        if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
            raise unsafe(self._what, f"'{shown(entry.name)}' is a hard link to something other than a file")
        if target == path:
            return
        self._tree.clear(path)
        os.link(target, path, follow_symlinks=False)

    def _own(self, path: bytes | int, entry: TarEntry, *, fresh: bool = True) -> None:
        """Set the owner; `fresh` entries already belong to this user."""
        ids = entry.uid, entry.gid
        if not self._set_owners or (fresh and ids == self._own_ids):
            return
        if not all(0 <= number <= _LARGEST_ID for number in ids):
            return
        try:
            if isinstance(path, int):
                os.fchown(path, entry.uid, entry.gid)
            else:
                os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        except PermissionError:  # root without CAP_CHOWN, or an id that a user namespace does not know
            self._set_owners = False


_KINDS = frozenset({REGULAR, HARD_LINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO})


def process_umask() -> int:
    """The bits that the process takes from the modes of new files. (os.umask would have to change it, for all
    threads.)"""
    try:
        with Path("/proc/self/status").open("rb") as status:
            for line in status:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except (OSError, ValueError):
        pass
    return _PERMISSIONS


def _mode(entry: TarEntry, *, directory: bool = False) -> int:
    """Permission bits without set-uid and set-gid; the sticky bit stays on directories (/tmp)."""
    return entry.mode & (_PERMISSIONS | (stat.S_ISVTX if directory else 0))


def _time(entry: TarEntry) -> float:
    """The modification time, if the file system supports it."""
    return entry.mtime if 0 <= entry.mtime < 2**33 else 0.0
