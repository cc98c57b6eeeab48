"""The common interface of all sources of images.

A registry, a folder in OCI layout and an archive all return content by digest (`BlobStore`). `find_image`
resolves a tag to one platform's manifest in any of them; its result can be unpacked without knowing the
source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from containers.errors import ErrorKind, ExplainedError
from containers.image.config import ImageConfig
from containers.image.manifests import (
    MAXIMUM_DOCUMENT_BYTES,
    Descriptor,
    broken,
    check_digest,
    choose_platform,
    is_digest,
    is_index,
    parse_config,
    parse_document,
    parse_manifest,
)


class ByteStream(Protocol):
    """Bytes as they arrive; `read` returns at most `size` of them and `b""` at the end."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, `b""` at the end. Raises ExplainedError if they are not available or do not match
        the digest."""

    def close(self) -> None:
        """Close the connection or file."""


@dataclass(frozen=True)
class Layer:
    """One layer: its size as stored, and how to open it.

    `digest` is that of the stored bytes, which the opened stream checks. `diff_id` is the digest of the
    uncompressed layer, and given only if the stored bytes have no digest of their own (docker-save archives),
    so that it must be checked after decompression.
    """

    size: int
    open: Callable[[], ByteStream]
    diff_id: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        """As messages name it."""
        return f"layer {self.key}"

    @property
    def key(self) -> str:
        """Identifies the layer: one of its digests."""
        return self.digest or f"{self.diff_id}"


@dataclass(frozen=True)
class FoundImage:
    """An image that was found: the digest that it is stored by, its layers, and its configuration on demand,
    parsed or as the JSON document that it is. `manifest` is empty for archives of `docker save`."""

    digest: str
    layers: tuple[Layer, ...]
    load_config: Callable[[], ImageConfig]
    read_config: Callable[[], bytes] = bytes
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def compressed_bytes(self) -> int:
        """Total size of its layers as stored."""
        return sum(layer.size for layer in self.layers)


class BlobStore(Protocol):
    """A source of manifests and blobs of one repository."""

    def read_manifest(self, version: str) -> tuple[bytes, str]:
        """The manifest for a tag or digest, and its media type according to the source."""

    def open_blob(self, descriptor: Descriptor) -> ByteStream:
        """The content of `descriptor`; the stream itself checks size and digest when it ends."""

    def close(self) -> None:
        """Close everything. Blobs must not be read afterwards."""


def find_image(blobs: BlobStore, version: str, architecture: str, what: str) -> FoundImage:
    """The image for `version` (tag or digest) and `architecture` in `blobs`; `what` names it in messages."""
    content, media_type, digest = _manifest(blobs, version, what)
    document = parse_document(content, f"the manifest of {what}")
    if is_index(document, media_type):
        chosen = choose_platform(document, architecture, what)
        content, media_type, digest = _manifest(blobs, chosen.digest, what)
        document = parse_document(content, f"the manifest of {what}")
        if is_index(document, media_type):  # an index of indexes could be made endless
            raise broken(f"the index of {what} points to another index")
    manifest = parse_manifest(document, digest, media_type, what)

    def read_config() -> bytes:
        if manifest.config.size > MAXIMUM_DOCUMENT_BYTES:
            raise broken(f"the configuration of {what} is larger than {MAXIMUM_DOCUMENT_BYTES} bytes")
        return read_all(blobs.open_blob(manifest.config))

    def load_config() -> ImageConfig:
        return parse_config(read_config(), architecture, what)[0]

    layers = tuple(
        Layer(layer.size, partial(blobs.open_blob, layer), digest=layer.digest) for layer in manifest.layers
    )
    return FoundImage(manifest.digest, layers, load_config, read_config, document)


def read_all(stream: ByteStream) -> bytes:
    """Everything in a small stream, which is closed."""
    parts: list[bytes] = []
    try:
        while part := stream.read(1 << 20):
            parts.append(part)
    finally:
        stream.close()
    return b"".join(parts)


class VerifiedStream:
    """Passes another stream's bytes on, and raises at its end unless size and digest are those promised."""

    def __init__(self, inner: ByteStream, descriptor: Descriptor, what: str) -> None:
        self._inner = inner
        self._descriptor = descriptor
        self._what = what
        self._algorithm, _, self._expected = descriptor.digest.partition(":")
        self._hash = hashlib.new(self._algorithm, usedforsecurity=True)
        self._count = 0
        self._done = False

    def read(self, size: int, /) -> bytes:
        """The next bytes, or `b""` once all were right."""
        if self._done:
            return b""
        chunk = self._inner.read(size)
        if chunk:
            self._hash.update(chunk)
            self._count += len(chunk)
            if self._count > self._descriptor.size:  # do not let a server send endless data
                raise self._mismatch(
                    f"more than the {self._descriptor.size} bytes that its manifest declares"
                )
            return chunk
        if self._count != self._descriptor.size:
            raise self._mismatch(f"{self._count} of {self._descriptor.size} bytes")
        if self._hash.hexdigest() != self._expected:
            raise self._mismatch(f"content with the digest {self._algorithm}:{self._hash.hexdigest()}")
        self._done = True
        return b""

    def close(self) -> None:
        """Close the underlying stream."""
        self._inner.close()

    def _mismatch(self, received: str) -> ExplainedError:
        return ExplainedError(
            f"{self._what} is damaged: {self._descriptor.digest} was expected, {received} received",
            advice="Try again. If the error persists, the registry or mirror serves wrong data: push the "
            "image again",
            kind=ErrorKind.DIGEST_MISMATCH,
        )


def _manifest(blobs: BlobStore, version: str, what: str) -> tuple[bytes, str, str]:
    content, media_type = blobs.read_manifest(version)
    if is_digest(version):
        check_digest(content, version, f"the manifest of {what}")
        return content, media_type, version
    return content, media_type, f"sha256:{hashlib.sha256(content).hexdigest()}"
