"""Decompresses gzip, zstd or plain bytes, recognized by their first bytes.

Media types are often wrong, magic numbers are not.
"""

from __future__ import annotations

import functools
import importlib
import zlib
from typing import Any

from containers.errors import ErrorKind, ExplainedError
from containers.image.manifests import broken
from containers.image.origin import ByteStream

_CHUNK = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
GZIP_WITH_HEADER = 16 + zlib.MAX_WBITS  # a writer's header has a time of zero
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# A zstd frame declares its window, up to terabytes, which the reader must have as memory. 32 MiB is what
# `zstd -20` uses; the writers of images stay below.
_LARGEST_WINDOW_LOG = 25


def decompressed(raw: ByteStream, what: str) -> ByteStream:
    """`raw` without its compression.

    Raises ExplainedError (kind `UnsupportedImage`) for zstd if Python does not support it."""
    head = b""
    while len(head) < len(_ZSTD_MAGIC) and (more := raw.read(_CHUNK)):
        head += more
    if head.startswith(GZIP_MAGIC):
        return _Inflating(Prefixed(head, raw), what)
    if head.startswith(_ZSTD_MAGIC):
        return _Zstandard(Prefixed(head, raw), what)
    return Prefixed(head, raw)


class Prefixed:
    """A stream of which the beginning was read already."""

    def __init__(self, head: bytes, rest: ByteStream) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size`."""
        if self._head:
            part, self._head = self._head[:size], self._head[size:]
            return part
        return self._rest.read(size)

    def close(self) -> None:
        """Close the underlying stream."""
        self._rest.close()


@functools.cache
def gzip_library() -> Any:
    """isal's module, several times faster than `zlib` and used in the same way, if it is installed."""
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:
        return zlib


def _new_gzip() -> Any:
    return gzip_library().decompressobj(GZIP_WITH_HEADER)


class _Inflating:
    """gzip; several members one after the other are one stream (RFC 1952)."""

    def __init__(self, source: ByteStream, what: str) -> None:
        self._source = source
        self._what = what
        self._decompressor: Any = _new_gzip()  # None after the last member
        self._pending = b""

    def read(self, size: int, /) -> bytes:
        while self._decompressor is not None:
            if self._decompressor.eof:
                self._next_member()
                continue
            data = self._pending or self._source.read(_CHUNK // 4)
            try:
                plain: bytes = self._decompressor.decompress(data, size)
            except Exception as error:  # zlib and isal have error classes of their own
                raise _damaged(self._what) from error
            self._pending = self._decompressor.unconsumed_tail
            if plain:
                return plain
            if not data and not self._decompressor.eof:
                raise _damaged(self._what)
        return b""

    def close(self) -> None:
        self._source.close()

    def _next_member(self) -> None:
        rest = self._decompressor.unused_data.lstrip(b"\0") or self._source.read(_CHUNK // 4).lstrip(b"\0")
        self._decompressor = _new_gzip() if rest.startswith(GZIP_MAGIC[: len(rest)]) and rest else None
        self._pending = rest


class _Zstandard:
    """zstd by the standard library (Python 3.14) or its backport."""

    def __init__(self, source: ByteStream, what: str) -> None:
        self._source = source
        self._what = what
        self._module = _zstd_module(what)
        self._decompressor = self._new()

    def _new(self) -> Any:
        limit = self._module.DecompressionParameter.window_log_max
        return self._module.ZstdDecompressor(options={limit: _LARGEST_WINDOW_LOG})

    def read(self, size: int, /) -> bytes:
        while True:
            data = b""
            if self._decompressor.eof:
                data = self._decompressor.unused_data or self._source.read(_CHUNK // 4)
                if not data:
                    return b""
                self._decompressor = self._new()
            elif self._decompressor.needs_input:
                data = self._source.read(_CHUNK // 4)
                if not data:
                    raise _damaged(self._what)
            try:
                plain: bytes = self._decompressor.decompress(data, size)
            except Exception as error:
                if "too much memory" in str(error):
                    raise ExplainedError(
                        f"{self._what} is compressed with a zstd window of more than "
                        f"{1 << _LARGEST_WINDOW_LOG - 20} MiB, which takes too much memory to read",
                        advice="Push the image with zstd level 19 at most, and without --long",
                        kind=ErrorKind.UNSUPPORTED_IMAGE,
                    ) from error
                raise _damaged(self._what) from error
            if plain:
                return plain

    def close(self) -> None:
        self._source.close()


def _zstd_module(what: str) -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ExplainedError(
        f"{what} is compressed with zstd, which this runner's Python cannot read",
        advice="Push the image with gzip layers (docker buildx: compression=gzip,force-compression=true)",
        kind=ErrorKind.UNSUPPORTED_IMAGE,
    )


def _damaged(what: str) -> ExplainedError:
    return broken(f"{what} is damaged: its compressed data is malformed or ends too early")
