"""One layer's way from the source into the target, read once: its digest is checked, its tar is
inspected, and it is uploaded, all at the same time, in threads that let go of the interpreter lock where
the work is.

    source ──► digest ──┬──► chunks ──► upload          (`LayerReader` fetches and decompresses)
                        └──► decompress ──► diff id ──► headers
or, for a layer that Lambda would not take as it is,
    source ──► digest ──► decompress ──┬──► diff id ──► headers
                                       └──► gzip ──► chunks ──► upload

What lies between the threads is bounded, so that memory does not depend on the layer's size, and nothing
goes to the disk. The upload is completed only when the source's digest was found right and the
inspection had no complaint."""

from __future__ import annotations

import hashlib
import importlib
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from containers.assembly.errors import OutOfTime, rejected
from containers.assembly.layer_report import LayerReport, inspect_layer
from containers.assembly.layer_writer import LAYER_TYPE
from containers.assembly.source import SourceLayer
from containers.assembly.target import CHUNK_BYTES, BlobUpload, TargetRepository, UploadLostError
from containers.errors import ErrorKind, ExplainedError
from containers.image.manifests import Descriptor
from containers.image.origin import ByteStream, Layer
from containers.layers.decompress import GZIP_MAGIC, Prefixed
from containers.layers.reader import LayerReader

MAXIMUM_PLAIN_BYTES = 10 << 30
"""Lambda: "Container image code package size: 10 GB (maximum uncompressed image size, including all
layers)"."""

_READ_BYTES = 1 << 20
_ATTEMPTS = 4


class Progress:
    """What all transfers of an assembly share: the deadline (`time.monotonic`), the count of bytes, and
    whether one of them has failed."""

    def __init__(self, what: str, deadline: float | None) -> None:
        self.what = what
        self.deadline = deadline
        self.bytes_read = 0
        self.bytes_sent = 0
        self._plain_bytes: dict[str, int] = {}
        self._lock = threading.Lock()
        self.stopped = threading.Event()

    def check(self) -> None:
        """Raise OutOfTime if it is time to stop."""
        if self.stopped.is_set() or (self.deadline is not None and time.monotonic() > self.deadline):
            raise OutOfTime

    def count(self, *, read: int = 0, sent: int = 0) -> None:
        """Note what was moved."""
        with self._lock:
            self.bytes_read += read
            self.bytes_sent += sent

    def plain(self, layer: str, size: int) -> None:
        """Note the uncompressed size of a layer so far. Stops images that are too large for Lambda, and
        decompression bombs."""
        with self._lock:
            self._plain_bytes[layer] = size
            total = sum(self._plain_bytes.values())
        if total > MAXIMUM_PLAIN_BYTES:
            raise rejected(
                f"{self.what} has more than {MAXIMUM_PLAIN_BYTES} bytes uncompressed, the maximum of "
                f"AWS Lambda ({layer} is among the largest layers)",
                "Make the image smaller",
                ErrorKind.IMAGE_TOO_LARGE,
            )


def transfer(
    layer: SourceLayer, target: TargetRepository, progress: Progress, prefix: bytes = b""
) -> LayerReport:
    """Copy the layer into the target and report what it contains. `prefix` is inserted before its tar.
    Raises ExplainedError, and OutOfTime."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _Transfer(layer, target, progress, prefix).run()
        except UploadLostError as error:
            if attempt == _ATTEMPTS:
                raise target.upload_failed(error.cause) from error
    raise AssertionError("unreachable")


class _Transfer:
    def __init__(
        self, layer: SourceLayer, target: TargetRepository, progress: Progress, prefix: bytes
    ) -> None:
        self._layer = layer
        self._target = target
        self._progress = progress
        self._prefix = prefix
        self._what = f"{layer} of {progress.what}"
        self._digest: Any = None

    def run(self) -> LayerReport:
        layer, target = self._layer, self._target
        digest, there = layer.digest, False
        opened = layer.open
        if digest is not None and target.blob_size(digest) == layer.size:
            # Somebody sent it who did not come to an end: it is only read, and from nearby.
            there, wanted = True, Descriptor(LAYER_TYPE, digest, layer.size)
            opened = lambda: target.open_blob(wanted)  # noqa: E731
        stream = _Watched(opened(), self._progress)
        head = b""
        while len(head) < len(GZIP_MAGIC) and (more := stream.read(_READ_BYTES)):
            head += more
        source = Prefixed(head, stream)
        # Media types are often wrong, magic numbers are not.
        if self._prefix or digest is None or not head.startswith(GZIP_MAGIC):
            return self._convert(source)
        report = LayerReport(Descriptor(LAYER_TYPE, digest, layer.size))
        if there:
            self._inspect(source, None, report)
            return report
        with _Sender(target, self._progress) as sender:
            self._inspect(_Tee(source, sender.write), None, report)
            sender.finish(digest)
        return report

    def _convert(self, source: ByteStream) -> LayerReport:
        with _Sender(self._target, self._progress) as sender:
            compressor = _Compressor(sender.write)
            report = LayerReport(Descriptor(LAYER_TYPE, "", 0))
            self._inspect(source, compressor.write, report)
            report.descriptor = compressor.finish()
            sender.finish(report.descriptor.digest)
        return report

    def _inspect(
        self, source: ByteStream, forward: Callable[[bytes], None] | None, report: LayerReport
    ) -> None:
        """Read the layer to its end; its uncompressed bytes go to `forward`, too."""
        progress = self._progress
        reader = LayerReader(Layer(self._layer.size, lambda: source), self._what)
        plain = _Plain(reader, self._prefix, forward, lambda size: progress.plain(str(self._layer), size))
        try:
            inspect_layer(plain, report, self._what)
            while plain.read(_READ_BYTES):
                pass
        finally:
            reader.close()
        report.diff_id = plain.diff_id
        report.plain_bytes = plain.size


class _Watched:
    """A source whose bytes are counted, and which stops when it is time."""

    def __init__(self, inner: ByteStream, progress: Progress) -> None:
        self._inner = inner
        self._progress = progress

    def read(self, size: int, /) -> bytes:
        self._progress.check()
        chunk = self._inner.read(size)
        self._progress.count(read=len(chunk))
        return chunk

    def close(self) -> None:
        self._inner.close()


class _Tee:
    """Bytes that somebody else gets to see, too."""

    def __init__(self, inner: ByteStream, forward: Callable[[bytes], None]) -> None:
        self._inner = inner
        self._forward = forward

    def read(self, size: int, /) -> bytes:
        chunk = self._inner.read(size)
        if chunk:
            self._forward(chunk)
        return chunk

    def close(self) -> None:
        self._inner.close()


class _Plain:
    """The uncompressed layer on its way to the inspection: hashed, counted, and forwarded."""

    def __init__(
        self,
        reader: LayerReader,
        prefix: bytes,
        forward: Callable[[bytes], None] | None,
        on_size: Callable[[int], None],
    ) -> None:
        self._reader = reader
        self._prefix = prefix
        self._forward = forward
        self._on_size = on_size
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def read(self, size: int, /) -> bytes:
        chunk = self._prefix or self._reader.read(size)
        self._prefix = b""
        if chunk:
            self._hash.update(chunk)
            self.size += len(chunk)
            self._on_size(self.size)
            if self._forward is not None:
                self._forward(chunk)
        return chunk

    def close(self) -> None:
        self._reader.close()


class _CompressObject(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Compressor:
    """gzip without a time, whose output is hashed."""

    def __init__(self, forward: Callable[[bytes], None]) -> None:
        self._forward = forward
        self._compressor = _new_gzip()
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, chunk: bytes) -> None:
        self._put(self._compressor.compress(chunk))

    def finish(self) -> Descriptor:
        self._put(self._compressor.flush())
        return Descriptor(LAYER_TYPE, f"sha256:{self._hash.hexdigest()}", self._size)

    def _put(self, compressed: bytes) -> None:
        if compressed:
            self._hash.update(compressed)
            self._size += len(compressed)
            self._forward(compressed)


def _new_gzip() -> _CompressObject:
    """isal's compressor, several times faster than zlib's at a similar size, where it is installed."""
    gzip_with_header = 16 + zlib.MAX_WBITS
    try:
        fast: Any = importlib.import_module("isal.isal_zlib")
    except ImportError:
        return zlib.compressobj(4, zlib.DEFLATED, gzip_with_header)
    compressor: _CompressObject = fast.compressobj(2, fast.DEFLATED, gzip_with_header)
    return compressor


class _Sender:
    """Uploads in a thread of its own what is written, in chunks; while one is sent, the next fills up."""

    def __init__(self, target: TargetRepository, progress: Progress) -> None:
        self._target = target
        self._progress = progress
        self._upload: BlobUpload = target.start_upload()
        self._filling = bytearray()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._finished = False

    def write(self, piece: bytes) -> None:
        self._filling += piece
        if len(self._filling) >= CHUNK_BYTES:
            self._hand_over()

    def finish(self, digest: str) -> None:
        """Complete the upload. To be called only when everything was found right."""
        only = self._thread is None
        if only:  # little: it travels with the request that completes the upload
            self._progress.count(sent=len(self._filling))
        elif self._filling:
            self._hand_over()
        self._wait()
        self._upload.finish(digest, bytes(self._filling) if only else b"")
        self._finished = True

    def __enter__(self) -> _Sender:
        return self

    def __exit__(self, *_: object) -> None:
        if self._finished:
            return
        if self._thread is not None:
            self._thread.join()
        if not isinstance(self._error, UploadLostError):
            self._upload.cancel()

    def _hand_over(self) -> None:
        self._wait()
        chunk, self._filling = self._filling, bytearray()
        self._thread = threading.Thread(target=self._send, args=(chunk,), name="upload", daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            raise self._error

    def _send(self, chunk: bytearray) -> None:
        try:
            self._upload.send(chunk)
            self._progress.count(sent=len(chunk))
        except (ExplainedError, UploadLostError) as error:
            self._error = error
        except Exception as error:
            self._error = self._target.upload_failed(error)
