"""The plan of a layer: the source of each path of an image, before anything is copied.

Entries are added in any order and written sorted, owned by root and dated 1970, so the same inputs give the
same bytes. `fingerprint` shows cheaply whether the inputs have changed since the last build.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

_FOLDER = 0o755


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One path of an image: exactly one of `source`, `content`, `link_to` is set, or none for a folder."""

    mode: int
    source: Path | None = None
    """A file of the host."""
    content: bytes | None = None
    link_to: str | None = None
    """Target of a symbolic link, as read inside the image."""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.source is None and self.content is None and self.link_to is None


@dataclass(slots=True)
class LayerFiles:
    """The files of one image layer, by their path in the image without the leading `/`."""

    entries: dict[str, FileEntry] = field(default_factory=dict)

    def add_folder(self, path: str, mode: int = _FOLDER) -> None:
        """Add an empty folder."""
        self._put(path, FileEntry(mode))

    def add_file(self, path: str, source: Path, mode: int | None = None) -> None:
        """Add a file of the host, with links followed; without `mode`, executable if the file is."""
        source = source.resolve(strict=True)
        if mode is None:
            mode = 0o755 if source.stat().st_mode & 0o111 else 0o644
        self._put(path, FileEntry(mode, source=source))

    def add_content(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Add a file with this content."""
        data = content.encode() if isinstance(content, str) else content
        self._put(path, FileEntry(mode, content=data))

    def add_link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._put(path, FileEntry(0o777, link_to=target))

    def add_tree(self, path: str, source: Path, keep: Callable[[PurePosixPath], bool]) -> None:
        """Add the files below `source`, without files and folders whose relative path `keep` rejects."""
        for folder, folders, names in os.walk(source):
            inside = PurePosixPath(Path(folder).relative_to(source).as_posix())
            folders[:] = [name for name in folders if keep(inside / name)]
            for name in names:
                file = Path(folder, name)
                if keep(inside / name) and file.is_file():
                    self.add_file(f"{path}/{inside / name}", file)

    def without(self, other: LayerFiles) -> LayerFiles:
        """Only what `other`, a layer below this one, does not have already."""
        return LayerFiles({path: e for path, e in self.entries.items() if other.entries.get(path) != e})

    def fingerprint(self) -> str:
        """Changes when an entry changes; a file's path, size and time represent its bytes."""
        digest = hashlib.sha256()
        for path, entry in sorted(self.entries.items()):
            seen: object = entry.content
            if entry.source:
                status = entry.source.stat()
                seen = (str(entry.source), status.st_size, status.st_mtime_ns)
            digest.update(repr((path, entry.mode, entry.link_to, seen)).encode())
        return digest.hexdigest()

    def write_tar(self, stream: io.RawIOBase | io.BufferedIOBase) -> None:
        """Write the layer as a tar stream, the same bytes for the same entries."""
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for path, entry in sorted(self.with_parents().items()):
                member = tarfile.TarInfo(path)
                member.mode = entry.mode
                if entry.link_to is not None:
                    member.type, member.linkname = tarfile.SYMTYPE, entry.link_to
                    archive.addfile(member)
                elif entry.source is not None:
                    member.size = entry.source.stat().st_size
                    with entry.source.open("rb") as file:
                        archive.addfile(member, file)
                elif entry.content is not None:
                    member.size = len(entry.content)
                    archive.addfile(member, io.BytesIO(entry.content))
                else:
                    member.type = tarfile.DIRTYPE
                    archive.addfile(member)

    def _put(self, path: str, entry: FileEntry) -> None:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts:
            raise ValueError(f"a path in an image is relative to its root, without '..': {path!r}")
        self.entries[str(PurePosixPath(path))] = entry

    def with_parents(self) -> dict[str, FileEntry]:
        """The entries and their folders: a tar without folders leaves their mode to the program that unpacks
        it."""
        whole = dict(self.entries)
        for path in self.entries:
            parent = posixpath.dirname(path)
            while parent and parent not in whole:
                whole[parent] = FileEntry(_FOLDER)
                parent = posixpath.dirname(parent)
        return whole
