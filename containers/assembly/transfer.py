"""The transfer of one layer from the source to the target, read once: its digest is checked, its tar is
inspected, and it is uploaded, all at the same time, in threads that release the interpreter lock for the
actual work.

    source ──► digest ──┬──► chunks ──► upload          (`LayerReader` fetches and decompresses)
                        └──► decompress ──► diff id ──► headers
or, for a layer in a form that Lambda does not accept,
    source ──► digest ──► decompress ──┬──► diff id ──► headers
                                       └──► gzip ──► chunks ──► upload

The buffers between the threads are bounded, so that memory does not depend on the layer's size, and nothing
is written to the disk. The upload is completed only if the source's digest is correct and the inspection
found no problem."""

from __future__ import annotations

import hashlib
import threading
import time
import zlib
from collections.abc import Callable

from containers.assembly.errors import OutOfTime, rejected
from containers.assembly.layer_report import LayerReport, inspect_layer
from containers.assembly.layer_writer import LAYER_TYPE
from containers.assembly.target import CHUNK_BYTES, BlobUpload, TargetRepository, UploadLostError
from containers.errors import ErrorKind, ExplainedError
from containers.image.manifests import Descriptor
from containers.image.origin import ByteStream, Layer
from containers.layers.decompress import GZIP_MAGIC, GZIP_WITH_HEADER, Prefixed, gzip_library
from containers.layers.reader import LayerReader

MAXIMUM_PLAIN_BYTES = 10 << 30
"""Lambda: "Container image code package size: 10 GB (maximum uncompressed image size, including all
layers)"."""

_READ_BYTES = 1 << 20
_ATTEMPTS = 4


class Progress:
    """The shared state of all transfers of an assembly: the deadline (`time.monotonic`), the count of bytes,
    and whether one of them has failed."""

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
        """Count transferred bytes."""
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


def transfer(layer: Layer, target: TargetRepository, progress: Progress, prefix: bytes = b"") -> LayerReport:
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
    def __init__(self, layer: Layer, target: TargetRepository, progress: Progress, prefix: bytes) -> None:
        self._layer = layer
        self._target = target
        self._progress = progress
        self._prefix = prefix
        self._what = f"{layer} of {progress.what}"

    def run(self) -> LayerReport:
        layer, target = self._layer, self._target
        digest = layer.digest
        there = digest is not None and target.blob_size(digest) == layer.size
        stored = Descriptor(LAYER_TYPE, digest or "", layer.size)
        # An earlier, interrupted assembly uploaded the blob: it is only read, from the target.
        stream = _Watched(target.open_blob(stored) if there else layer.open(), self._note_read)
        head = b""
        while len(head) < len(GZIP_MAGIC) and (more := stream.read(_READ_BYTES)):
            head += more
        source = Prefixed(head, stream)
        # Media types are often wrong, magic numbers are not.
        if self._prefix or digest is None or not head.startswith(GZIP_MAGIC):
            return self._convert(source)
        report = LayerReport(stored)
        if there:
            self._inspect(source, lambda _chunk: None, report)
            return report
        with _Sender(target, self._progress) as sender:
            self._inspect(_Watched(source, sender.write), lambda _chunk: None, report)
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

    def _inspect(self, source: ByteStream, forward: Callable[[bytes], None], report: LayerReport) -> None:
        """Read the layer to its end; its uncompressed bytes are also passed to `forward`."""
        digest = hashlib.sha256()

        def note(chunk: bytes) -> None:
            digest.update(chunk)
            report.plain_bytes += len(chunk)
            self._progress.plain(str(self._layer), report.plain_bytes)
            forward(chunk)

        reader = LayerReader(Layer(self._layer.size, lambda: source), self._what)
        plain = _Watched(Prefixed(self._prefix, reader), note)
        try:
            inspect_layer(plain, report, self._what)
            while plain.read(_READ_BYTES):
                pass
        finally:
            reader.close()
        report.diff_id = f"sha256:{digest.hexdigest()}"

    def _note_read(self, chunk: bytes) -> None:
        self._progress.count(read=len(chunk))
        self._progress.check()


class _Watched:
    """A stream whose chunks are also passed to a listener."""

    def __init__(self, inner: ByteStream, see: Callable[[bytes], None]) -> None:
        self._inner = inner
        self._see = see

    def read(self, size: int, /) -> bytes:
        chunk = self._inner.read(size)
        if chunk:
            self._see(chunk)
        return chunk

    def close(self) -> None:
        self._inner.close()


class _Compressor:
    """gzip without a time, whose output is hashed."""

    def __init__(self, forward: Callable[[bytes], None]) -> None:
        self._forward = forward
        library = gzip_library()
        level = 4 if library is zlib else 2  # of 9, or of isal's 3: similar sizes
        self._compressor = library.compressobj(level, zlib.DEFLATED, GZIP_WITH_HEADER)
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


class _Sender:
    """Uploads written bytes in chunks, in a thread of its own: one chunk is sent while the next is filled."""

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
