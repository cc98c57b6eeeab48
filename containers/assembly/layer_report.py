"""The content of a layer that the assembler needs, read from the headers of its tar.

For ordinary files, only four bytes are kept (an image can have 200 000). The report contains directories,
symbolic links, programs (with what they need to start), files that other users may not read, whiteouts, and
the texts of `/etc/passwd` and `/etc/group`. It is stored next to the layer in the target (`records`), so that
a layer is read only once.
"""

from __future__ import annotations

import array
import base64
import io
import json
import sys
import zlib
from dataclasses import astuple, dataclass, field
from typing import Any

from containers.assembly.errors import rejected
from containers.assembly.layer_writer import parents_of
from containers.elf import program_in
from containers.errors import ErrorKind
from containers.image.manifests import Descriptor
from containers.image.origin import ByteStream
from containers.layers.tar_header import DIRECTORY, HARD_LINK, REGULAR, SYMLINK, TarEntry
from containers.layers.tar_stream import TarStream

OUR_FOLDER = ".scar"
MAXIMUM_ENTRIES = 1_000_000
_TEXTS = ("etc/passwd", "etc/group")
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_OTHERS_READ = 0o004
_ANY_EXECUTE = 0o111
_HEAD_BYTES = 4096
_TEXT_BYTES = 1 << 20
_KEPT_PROGRAM_BYTES = 64 << 10
_KEPT_PROGRAMS_BYTES = 1 << 20
_KEPT_NAMES_BYTES = 32 << 20
_SETS = ("whiteouts", "opaque", "orphans")
_NODES = ("directories", "files")


@dataclass(frozen=True)
class NotedFile:
    """A directory, program or file that others may not read: its owner and mode, the words of its `#!`
    line or its dynamic loader, and for small programs that others may not run, the content."""

    mode: int
    uid: int
    gid: int
    interpreter: tuple[str, ...] = ()
    script: bool = False
    content: str | None = None


@dataclass
class LayerReport:
    """What one layer adds and removes. Paths have no leading slash. `descriptor` is the layer in the target,
    `diff_id` the digest of its uncompressed bytes, `orphans` the parent directories of its entries without an
    earlier entry of their own, `hard_links` those to files outside the layer."""

    descriptor: Descriptor
    diff_id: str = ""
    plain_bytes: int = 0
    directories: dict[str, NotedFile] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    files: dict[str, NotedFile] = field(default_factory=dict)
    ordinary: set[int] = field(default_factory=set)
    whiteouts: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    orphans: set[str] = field(default_factory=set)
    hard_links: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def is_ordinary(self, path: str) -> bool:
        """Whether the layer has a file there that all users may read and that is not a program."""
        return checksum(path) in self.ordinary

    def to_json(self) -> bytes:
        """For `from_json`."""
        packed = array.array("I", sorted(self.ordinary))
        if sys.byteorder == "big":
            packed.byteswap()
        document = {
            **vars(self),
            "descriptor": None,
            "layer": astuple(self.descriptor),
            "ordinary": base64.b64encode(packed.tobytes()).decode(),
            **{name: sorted(getattr(self, name)) for name in _SETS},
            **{name: {path: astuple(node) for path, node in getattr(self, name).items()} for name in _NODES},
        }
        return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes) -> LayerReport:
        """The report. Raises ValueError, KeyError or TypeError for what `to_json` has not written."""
        document: dict[str, Any] = json.loads(content)
        packed = array.array("I", base64.b64decode(document["ordinary"]))
        if sys.byteorder == "big":
            packed.byteswap()
        document |= {
            "descriptor": Descriptor(*document.pop("layer")),
            "ordinary": set(packed),
            **{name: set(document[name]) for name in _SETS},
            **{name: {path: _node(node) for path, node in document[name].items()} for name in _NODES},
        }
        return cls(**document)


def checksum(path: str) -> int:
    """The hash that is kept of an ordinary file's path. The chance of a collision in one image is about one
    in ten thousand; the file is then treated as one that needs no correction."""
    return zlib.crc32(path.encode("utf-8", "surrogateescape"))


def inspect_layer(source: ByteStream, report: LayerReport, what: str) -> None:
    """Read the uncompressed layer in `source` to the end of its tar and fill `report`. Raises
    ExplainedError (kinds `BadImage`, `UnsafeImage`, `UnsupportedImage`), naming layer and path."""
    _Inspector(report, what).read(_HeadTarStream(source, what))


class _HeadTarStream(TarStream):
    """A tar of which the beginnings of files can be read."""

    def head(self, size: int) -> bytes:
        """The first bytes of the current member's data."""
        content = self._take(min(size, self._left))
        self._left -= len(content)
        return content


class _Inspector:
    def __init__(self, report: LayerReport, what: str) -> None:
        self._report = report
        self._what = what
        self._entries = 0
        self._kept_bytes = 0
        self._names_bytes = 0

    def read(self, tar: _HeadTarStream) -> None:
        report = self._report
        for entry in tar:
            self._entries += 1
            if self._entries > MAXIMUM_ENTRIES:
                raise rejected(
                    f"{self._what} has more than {MAXIMUM_ENTRIES} files",
                    "Build the image with fewer files",
                    ErrorKind.UNSAFE_IMAGE,
                )
            path = self._path(entry.name)
            if not path:
                if entry.kind == DIRECTORY:
                    report.directories[""] = NotedFile(entry.mode & 0o7777, entry.uid, entry.gid)
                continue
            self._check_parents(path)
            folder, _, name = path.rpartition("/")
            if name.startswith(_WHITEOUT):
                self._whiteout(path, folder, name)
            else:
                self._add(entry, path, tar)

    def _path(self, name: bytes) -> str:
        text = name.decode("utf-8", "surrogateescape")
        if (
            "//" in text
            or "./" in text
            or text.startswith("/")
            or text.endswith(("/", "/.", "/.."))
            or text in (".", "..")
        ):
            parts = [part for part in text.split("/") if part not in ("", ".")]
            # An entry that points outside the image would write to the machine that unpacks it.
            if ".." in parts:
                raise self._unsafe(text, "points outside the image")
            text = "/".join(parts)
        if text == OUR_FOLDER or text.startswith(f"{OUR_FOLDER}/"):
            raise rejected(
                f"'/{text}' in {self._what}: the directory /{OUR_FOLDER} is reserved for the runner",
                "Use the original image (not an assembled one), or rename the directory",
            )
        return text

    def _check_parents(self, path: str) -> None:
        directories = self._report.directories
        folder = path.rpartition("/")[0]
        if folder and folder not in directories and folder not in self._report.orphans:
            for parent in (*parents_of(folder), folder):
                if parent not in directories:
                    self._keep_name(parent)
                    self._report.orphans.add(parent)

    def _whiteout(self, path: str, folder: str, name: str) -> None:
        hidden = name.removeprefix(_WHITEOUT)
        if name == _OPAQUE:
            self._report.opaque.add(folder)
        elif hidden.startswith(_WHITEOUT):
            return  # what AUFS noted for itself
        elif hidden in ("", ".", ".."):
            # ".wh..." would remove files outside the image.
            raise self._unsafe(path, "is a whiteout with an invalid name")
        else:
            self._keep_name(path)
            self._report.whiteouts.add(f"{folder}/{hidden}" if folder else hidden)

    def _add(self, entry: TarEntry, path: str, tar: _HeadTarStream) -> None:
        report = self._report
        self._forget(entry, path)
        if entry.kind == DIRECTORY:
            self._keep_name(path)
            report.directories[path] = NotedFile(entry.mode & 0o7777, entry.uid, entry.gid)
        elif entry.kind == SYMLINK:
            target = entry.link.decode("utf-8", "surrogateescape")
            if not target:
                raise self._unsafe(path, "is a symbolic link without a target")
            self._keep_name(path + target)
            report.links[path] = target
        elif entry.kind == HARD_LINK:
            self._hard_link(path, entry)
        elif entry.kind == REGULAR:
            self._file(entry, path, tar)
        else:
            report.ordinary.add(checksum(path))

    def _forget(self, entry: TarEntry, path: str) -> None:
        """The last entry of a path counts."""
        self._report.links.pop(path, None)
        self._report.files.pop(path, None)
        self._report.texts.pop(path, None)
        if entry.kind != DIRECTORY:
            self._report.directories.pop(path, None)

    def _hard_link(self, path: str, entry: TarEntry) -> None:
        target = self._path(entry.link)
        report = self._report
        if target in report.files:
            report.files[path] = report.files[target]
        elif target in report.links:
            report.links[path] = report.links[target]
        elif report.is_ordinary(target):
            report.ordinary.add(checksum(path))
        else:
            self._keep_name(path + target)
            report.hard_links[path] = target
        if target in report.texts:
            report.texts[path] = report.texts[target]

    def _file(self, entry: TarEntry, path: str, tar: _HeadTarStream) -> None:
        report = self._report
        if path in _TEXTS and entry.size <= _TEXT_BYTES and entry.sparse is None:
            report.texts[path] = tar.head(_TEXT_BYTES).decode("utf-8", "surrogateescape")
        mode = entry.mode & 0o7777
        runs = bool(mode & _ANY_EXECUTE)
        if not runs and mode & _OTHERS_READ:
            report.ordinary.add(checksum(path))
            return
        self._keep_name(path)
        interpreter: tuple[str, ...] = ()
        content = None
        script = False
        if runs and entry.sparse is None:
            helpless = not mode & 0o001 or not mode & _OTHERS_READ
            keep = (
                helpless
                and entry.size <= _KEPT_PROGRAM_BYTES
                and self._kept_bytes + entry.size <= _KEPT_PROGRAMS_BYTES
            )
            head = tar.head(_KEPT_PROGRAM_BYTES if keep else _HEAD_BYTES)
            script = head.startswith(b"#!")
            program = program_in(io.BytesIO(head))
            interpreter = program.shebang or ((program.interpreter,) if program.interpreter else ())
            if keep:
                self._kept_bytes += len(head)
                content = base64.b64encode(head).decode()
        report.files[path] = NotedFile(mode, entry.uid, entry.gid, interpreter, script, content)

    def _keep_name(self, name: str) -> None:
        # A layer of a million long names must not fill the memory.
        self._names_bytes += len(name) + 64
        if self._names_bytes > _KEPT_NAMES_BYTES:
            raise rejected(
                f"the names of directories, links and programs in {self._what} have more than "
                f"{_KEPT_NAMES_BYTES >> 20} MiB",
                "Build the image with fewer directories, links and programs",
                ErrorKind.UNSAFE_IMAGE,
            )

    def _unsafe(self, path: str, why: str) -> Exception:
        return rejected(
            f"'{path}' in {self._what} {why}", "Build the image again without it", ErrorKind.UNSAFE_IMAGE
        )


def _node(value: list[Any]) -> NotedFile:
    mode, uid, gid, interpreter, script, content = value
    return NotedFile(mode, uid, gid, tuple(interpreter), script, content)
