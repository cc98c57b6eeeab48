"""The store: unpacked images by digest, shared by all processes of a machine, safe against `kill -9`.

    images/<digest>/root/        the file system
    images/<digest>/image.json   its configuration; its mtime is the time of the last use
    images/locks/<digest>        flock: exclusive while it is built or evicted, shared while it is in use
                                 (a lease)
    images/refs/<hash>.json      the digest of a name; its mtime is the time of the look-up
    images/tmp-<digest>-*        being unpacked or removed

An image appears by one rename, so every visible image is complete. The kernel releases a dead process's
locks: a `tmp-` folder whose lock is free is abandoned, and the next process removes it. Lock files are kept
(they are empty): removing one would let two processes hold "the" lock on two files.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from containers.bounded_json import read_json
from containers.errors import ErrorKind, ExplainedError, store_unusable
from containers.image.config import ImageConfig
from containers.image.manifests import is_digest
from containers.removal import remove_tree

RESERVE_BYTES = 32 << 20
"""Disk that unpacking leaves free: the invocation's files need some, too."""

_NAME_LENGTH = 24  # of the digest, in folder names: short paths, as a socket's path may have 108 bytes only
_MIB = 1 << 20


class Lease:
    """Keeps an image from being evicted until it is released."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "rb")

    def release(self) -> None:
        """Let the image be evicted again. Releasing twice is harmless."""
        self._file.close()


class ImageStore:
    """The images under `store`. Raises ExplainedError (kind `StoreUnusable`) if the folder cannot be used."""

    def __init__(self, store: Path) -> None:
        self.folder = store / "images"
        try:
            for folder in (self.folder, self.folder / "locks", self.folder / "refs"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            owners = {store: store.stat().st_uid, self.folder: self.folder.stat().st_uid}
        except OSError as error:
            raise store_unusable(f"the image store {self.folder} cannot be used", error) from error
        # In a shared /tmp, another user could have created the folder, and put their own programs into "our"
        # images, or swap it for another one later.
        for folder, owner in owners.items():
            if owner not in ((os.geteuid(), 0) if folder == store else (os.geteuid(),)):
                raise ExplainedError(
                    f"the image store {folder} belongs to another user (uid {owner})",
                    advice="Set SCAR_STORE to a folder of your own",
                    kind=ErrorKind.STORE_UNUSABLE,
                )
        # It contains images of private registries, and layers may contain secrets. `mkdir` does not change
        # an existing folder.
        with contextlib.suppress(OSError):
            self.folder.chmod(0o700)

    # -- images

    def path(self, digest: str) -> Path:
        """The folder of the image with `digest`."""
        return self.folder / _short(digest)

    def acquire(self, digest: str) -> tuple[Lease, ImageConfig] | None:
        """A lease on the image and its configuration, or None if it is not in the store."""
        record = self.path(digest) / "image.json"
        if not record.exists():
            return None
        lease = Lease(self._lock(digest, fcntl.LOCK_SH))
        config = self._recorded(digest)
        if config is not None:
            with contextlib.suppress(OSError):
                os.utime(record)
            return lease, config
        lease.release()
        return None

    def holds(self, digest: str) -> bool:
        """Whether the image exists, without taking a lease (for callers that hold its lock)."""
        return self._recorded(digest) is not None

    def _recorded(self, digest: str) -> ImageConfig | None:
        """The configuration of the image; None if it was evicted, or is damaged: as good as not there."""
        folder = self.path(digest)
        try:
            content = read_json((folder / "image.json").read_bytes())
            # Stops a link in place of the folder: containers would run in, and write to, its target.
            if not stat.S_ISDIR((folder / "root").lstat().st_mode) or folder.is_symlink():
                return None
            # Without it, a damaged byte in `config` would run another program than the image's.
            if content["checksum"] != _checksum(digest, content["config"]):
                return None
            lists = {
                name: tuple(value) for name, value in content["config"].items() if isinstance(value, list)
            }
            return ImageConfig(**{**content["config"], **lists})
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None

    @contextlib.contextmanager
    def exclusive(self, digest: str) -> Iterator[None]:
        """Hold the image's lock exclusively; waits while another process builds it."""
        descriptor = self._lock(digest, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def new_image(self, digest: str) -> Iterator[Path]:
        """A fresh folder to unpack into, removed if the block fails. Only inside `exclusive`."""
        self.remove_leftovers(digest)
        folder = self.folder / f"tmp-{_short(digest)}-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        (folder / "root").mkdir(mode=0o700)
        try:
            yield folder
        except BaseException:
            remove_tree(folder)
            raise

    def publish(self, folder: Path, digest: str, config: ImageConfig) -> None:
        """Make the image in `folder` visible to all. Only inside `exclusive`."""
        about = asdict(config)
        record = {"digest": digest, "config": about, "checksum": _checksum(digest, about)}
        (folder / "image.json").write_text(json.dumps(record))
        target = self.path(digest)
        # Without a readable image.json, or acquire would have found it. Or it is not even a folder.
        remove_tree(target)
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
        folder.rename(target)

    def remove_leftovers(self, held: str | None = None) -> None:
        """Remove incomplete images of killed processes. `held` is a digest whose lock the caller has."""
        for folder in self.folder.glob("tmp-*"):
            name = folder.name.split("-")[1]
            if held and name == _short(held):
                remove_tree(folder)
            elif (descriptor := self._try_lock(name)) is not None:
                remove_tree(folder)
                os.close(descriptor)

    # -- disk

    def free_bytes(self) -> int:
        """Free bytes on the store's disk."""
        return shutil.disk_usage(self.folder).free

    def total_bytes(self) -> int:
        """The size of the store's disk."""
        return shutil.disk_usage(self.folder).total

    def evictable_bytes(self) -> int:
        """The approximate size of the unused images on the disk."""
        return sum(map(_disk_bytes, self._unused()))

    def make_room(self, wanted_bytes: int) -> list[str]:
        """Evict unused images, least recently used first, until that much is free; returns which."""
        evicted: list[str] = []
        if self.free_bytes() >= wanted_bytes:
            return evicted
        self.remove_leftovers()
        with contextlib.closing(self._unused()) as unused:
            for folder in unused:
                if self.free_bytes() >= wanted_bytes:
                    break
                trash = self.folder / f"tmp-{folder.name}-{secrets.token_hex(4)}"
                with contextlib.suppress(FileNotFoundError):
                    folder.rename(trash)
                    remove_tree(trash)
                    evicted.append(folder.name)
        return evicted

    def _unused(self) -> Generator[Path]:
        """The folders of images that are neither leased nor being built, least recently used first; each is
        locked until the next is requested."""
        for record in sorted(self.folder.glob("*/image.json"), key=_last_use):
            name = record.parent.name
            if not name.startswith("tmp-") and (descriptor := self._try_lock(name)) is not None:
                try:
                    yield record.parent
                finally:
                    os.close(descriptor)

    # -- names

    def recall(self, name: str) -> tuple[str, float] | None:
        """The digest that `name` stood for, and how many seconds ago that was found out."""
        path = self._ref(name)
        try:
            content = read_json(path.read_bytes())
            age = max(0.0, time.time() - path.stat().st_mtime)
            digest = content["digest"]
            # Paths contain digests: anything else could point outside the store.
            return (digest, age) if content["name"] == name and is_digest(digest) else None
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None

    def remember(self, name: str, digest: str) -> None:
        """Record that `name` now resolves to `digest`."""
        path = self._ref(name)
        temporary = path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            temporary.write_text(json.dumps({"name": name, "digest": digest}))
            temporary.replace(path)
        except OSError:  # a full disk: the name is resolved again next time
            temporary.unlink(missing_ok=True)

    # -- locks

    def _ref(self, name: str) -> Path:
        return self.folder / "refs" / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"

    def _lock(self, digest: str, kind: int) -> int:
        descriptor = self._open_lock(_short(digest))
        fcntl.flock(descriptor, kind)
        return descriptor

    def _try_lock(self, name: str) -> int | None:
        descriptor = self._open_lock(name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def _open_lock(self, name: str) -> int:
        path = self.folder / "locks" / name
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            problem = f"the image store {self.folder} is damaged: {path} cannot be opened"
            raise store_unusable(problem, error, "Remove the folder: its images are pulled again") from error


class DiskBudget:
    """Counts the bytes of an image against the free disk space; evicts others first, then fails with the
    numbers."""

    def __init__(self, store: ImageStore, what: str, compressed_bytes: int) -> None:
        self._store = store
        self._what = what
        # gzip makes a typical root file system 2.5 times smaller; the real size often shows only while it is
        # unpacked.
        self._estimate = compressed_bytes * 5 // 2
        self._written = 0
        self._unchecked = 0
        self._free_before = store.free_bytes()
        # A manifest may claim any size: images are evicted only for received bytes (`charge`). An image that
        # cannot fit after evicting all others is rejected before the download.
        needed = compressed_bytes + RESERVE_BYTES
        if self._free_before < needed and self._free_before + store.evictable_bytes() < needed:
            raise self.disk_full()

    def charge(self, size: int) -> None:
        """About to write `size` bytes. Raises ExplainedError (kind `DiskFull`)."""
        self._written += size
        self._unchecked += size
        if self._unchecked < 8 * _MIB:
            return
        wanted = self._unchecked + RESERVE_BYTES
        if self._store.free_bytes() < wanted:
            self._store.make_room(wanted)
            if self._store.free_bytes() < wanted:
                raise self.disk_full()
        self._unchecked = 0

    def disk_full(self) -> ExplainedError:
        """The error with the required and the available space."""
        needed = max(self._estimate, self._written) + RESERVE_BYTES
        before, total = self._free_before, self._store.total_bytes()
        advised = (max(0, total - before) + needed) // _MIB + 1
        return ExplainedError(
            f"the disk is too small for {self._what}: it needs about {needed // _MIB} MiB, "
            f"{self._store.folder} has {before // _MIB} MiB free of {total // _MIB} MiB",
            advice=f"Set ephemeral_storage to at least {advised} MiB, or make the image smaller",
            kind=ErrorKind.DISK_FULL,
        )


def _checksum(digest: str, config: Mapping[str, Any]) -> str:
    """Of a record in the store."""
    return hashlib.sha256(json.dumps([digest, config], sort_keys=True).encode()).hexdigest()


def _short(digest: str) -> str:
    return digest.partition(":")[2][:_NAME_LENGTH]


def _disk_bytes(folder: Path) -> int:
    """The size of a tree on the disk; a file with several names counts once."""
    total, waiting = 0, [os.fspath(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                total += status.st_blocks * 512 // max(1, status.st_nlink)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return total


def _last_use(record: Path) -> float:
    try:
        return record.stat().st_mtime
    except OSError:
        return 0.0
