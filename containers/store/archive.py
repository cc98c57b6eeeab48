"""Images in archives (`docker save`, or an OCI layout in a tar), found by small ranged reads.

The table of contents has no fixed position (docker save writes manifest.json last), so the headers are read
first; then each layer is one ranged request. Nothing is kept on disk. FDL038 rejects archives that are
compressed as a whole.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import tarfile
from functools import partial
from typing import IO, cast

from containers.bounded_json import read_json
from containers.errors import ErrorKind, ExplainedError
from containers.image.layout import choose_tag
from containers.image.manifests import (
    MAXIMUM_DOCUMENT_BYTES,
    MAXIMUM_LAYERS,
    Descriptor,
    broken,
    is_digest,
    parse_config,
    parse_document,
)
from containers.image.origin import ByteStream, FoundImage, Layer, VerifiedStream, find_image, read_all
from containers.registry.ranges import RangeSource, S3Object

_MAXIMUM_MEMBERS = 10_000
_WINDOW = 64 * 1024
# Ten thousand members take five megabytes of headers, an image has a few hundred. tarfile holds long names
# and sparse maps in memory.
_MAXIMUM_HEADER_BYTES = 8 << 20


def s3_archive(uri: str, what: str) -> S3Object:
    """The archive at `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise ExplainedError(
            f"'{uri}' is not the address of an archive",
            advice="Expected s3://bucket/key",
            kind=ErrorKind.BAD_CONFIGURATION,
        )
    return S3Object(bucket, key, what)


def find_in_archive(source: RangeSource, architecture: str, what: str) -> FoundImage:
    """The image in the uncompressed tar `source`, in either format."""
    members = ArchiveMembers(source, what)
    # Docker 25 and later write both tables; manifest.json is the one that is always complete.
    if "manifest.json" in members:
        return _docker_save_image(members, architecture, what)
    if "index.json" in members:
        return find_image(OciArchive(members, what), "latest", architecture, what)
    raise broken(f"{what} is not an image: it has neither manifest.json (docker save) nor index.json (OCI)")


def _docker_save_image(members: ArchiveMembers, architecture: str, what: str) -> FoundImage:
    try:
        listed = read_json(members.read_document("manifest.json"))
        if len(listed) != 1:
            raise ExplainedError(
                f"{what} holds {len(listed)} images, expected one",
                advice="Save one image only",
                kind=ErrorKind.BAD_IMAGE,
            )
        config_name, layer_names = str(listed[0]["Config"]), [str(name) for name in listed[0]["Layers"]]
    except (ValueError, LookupError, TypeError) as error:
        raise broken(f"manifest.json of {what} is malformed") from error
    if len(layer_names) > MAXIMUM_LAYERS:
        raise broken(f"{what} has {len(layer_names)} layers; the maximum is {MAXIMUM_LAYERS}")
    config = members.read_document(config_name)
    parsed, diff_ids = parse_config(config, architecture, what)
    if len(diff_ids) != len(layer_names) or not all(map(is_digest, diff_ids)):
        raise broken(f"{what} lists {len(layer_names)} layers, its configuration {len(diff_ids)}")

    layers = tuple(
        Layer(members.size(name), partial(members.open, name), diff_id)
        for name, diff_id in zip(layer_names, diff_ids, strict=True)
    )
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    return FoundImage(digest, layers, lambda: parsed, lambda: config)


class OciArchive:
    """The blobs of an OCI layout inside a tar."""

    def __init__(self, members: ArchiveMembers, what: str) -> None:
        self._members = members
        self._what = what

    def read_manifest(self, version: str) -> tuple[bytes, str]:
        """The manifest for a tag or digest, and its media type."""
        if is_digest(version):
            return self._members.read_document(_blob_name(version)), ""
        index = parse_document(self._members.read_document("index.json"), f"index.json of {self._what}")
        entries = index.get("manifests")
        if isinstance(entries, list) and len(entries) == 1 and isinstance(entries[0], dict):
            entries[0].pop("annotations", None)  # one image in the file: that one, regardless of its tag
        entry = choose_tag(index, version, self._what, f"index.json of {self._what}")
        return self._members.read_document(_blob_name(entry.digest)), entry.media_type

    def open_blob(self, descriptor: Descriptor) -> ByteStream:
        """The blob's bytes, checked at their end."""
        stream = self._members.open(_blob_name(descriptor.digest))
        return VerifiedStream(stream, descriptor, f"a part of {self._what}")

    def close(self) -> None:
        """The archive is closed by the code that opened it."""


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


class ArchiveMembers:
    """Where each file of the archive begins, and how long it is."""

    def __init__(self, source: RangeSource, what: str) -> None:
        self._source = source
        self._what = what
        self._places: dict[str, tuple[int, int]] = {}
        links: dict[str, str] = {}
        try:
            with tarfile.open(fileobj=cast(IO[bytes], _HeaderView(source)), mode="r:") as tar:
                for count, member in enumerate(tar):
                    if count > _MAXIMUM_MEMBERS:
                        raise broken(
                            f"{what} holds more than {_MAXIMUM_MEMBERS} files: it is no image archive"
                        )
                    # tarfile keeps each member with all that its extended headers held.
                    tar.members = []  # type: ignore[attr-defined]
                    name = posixpath.normpath(member.name)
                    if member.size < 0:
                        raise broken(f"{what} holds a file of negative size")
                    if member.isreg():
                        self._places[name] = (member.offset_data, member.size)
                    elif member.issym():  # older versions of Docker link to an existing layer
                        links[name] = posixpath.normpath(
                            posixpath.join(posixpath.dirname(name), member.linkname)
                        )
                    elif member.islnk():
                        links[name] = posixpath.normpath(member.linkname)
        # tarfile calls itself for each extended header, and converts what numbers it finds.
        except (tarfile.TarError, ValueError, EOFError, RecursionError, OverflowError) as error:
            raise broken(f"{what} is not a tar file, or is damaged") from error
        for name, target in links.items():
            if target in self._places:
                self._places.setdefault(name, self._places[target])

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return self._place(name)[1]

    def open(self, name: str) -> ByteStream:
        """The content of a file."""
        offset, size = self._place(name)
        return self._source.stream(offset, size)

    def read_document(self, name: str) -> bytes:
        """The content of a small file."""
        if self.size(name) > MAXIMUM_DOCUMENT_BYTES:
            raise broken(f"'{name}' of {self._what} is larger than {MAXIMUM_DOCUMENT_BYTES} bytes")
        return read_all(self.open(name))

    def _place(self, name: str) -> tuple[int, int]:
        place = self._places.get(posixpath.normpath(name))
        if place is None:
            raise broken(f"{self._what} is incomplete: '{name}' is missing")
        return place


class _HeaderView:
    """The archive as a seekable file for reading its headers: small reads, one remembered window."""

    def __init__(self, source: RangeSource) -> None:
        self._source = source
        self._position = 0
        self._window = (0, b"")
        self._read = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._source.size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        # tarfile reads an extended header as a whole, however large it claims to be.
        if not 0 <= size <= MAXIMUM_DOCUMENT_BYTES:
            raise ValueError("an extended header is too large")
        self._read += size
        if self._read > _MAXIMUM_HEADER_BYTES:
            raise ValueError("the headers are too large")
        parts: list[bytes] = []
        while size:
            start, content = self._window
            if not start <= self._position < start + len(content):
                length = min(_WINDOW, self._source.size - self._position)
                if length <= 0:
                    break
                start, content = self._position, read_all(self._source.stream(self._position, length))
                self._window = (start, content)
            part = content[self._position - start :][:size]
            parts.append(part)
            self._position += len(part)
            size -= len(part)
        return b"".join(parts)
