"""Layers during a pull: downloaded, checked and decompressed by threads, ahead of the thread that writes
files.

    fetch thread    place -> digest -> compressed chunks
    inflate thread  compressed chunks -> tar bytes
    the caller      tar bytes -> files

Hashing, decompressing and writing release the interpreter lock, so that the three use two processors well.
While one layer is written, the next ones are already being downloaded (`read_ahead`): the latency of a
registry counts once, not for each layer. The buffers between the threads are bounded, and so is the memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence

from containers.errors import ErrorKind, ExplainedError
from containers.image.manifests import broken
from containers.image.origin import ByteStream, Layer
from containers.layers.decompress import decompressed

LAYERS_AHEAD = 2
"""Layers that are fetched while one is written: with it, as many at once as Docker does."""

_PIECE = 256 << 10  # size of the chunks; TLS returns 16 KiB at a time
_PIECES_AHEAD = 24
_CHUNK = 1 << 20
_CHUNKS_AHEAD = 4
# A tar is followed by zeros up to its block size (10 KiB by custom). Gigabytes there are an attack.
_MAXIMUM_TRAILER = 64 << 20
_END_S = 1.0


class LayerReader:
    """The uncompressed bytes of a layer, which are read ahead as soon as the object is created.

    `finish` must be called at the end of the tar: it waits until everything is downloaded, so that the digest
    is checked. If the layer has a `diff_id`, the digest of the uncompressed bytes is checked, too.
    """

    def __init__(self, layer: Layer, what: str) -> None:
        self._layer = layer
        self._what = what
        self._fetched = _Channel(_PIECES_AHEAD)
        self._plain = _Channel(_CHUNKS_AHEAD)
        self._plain_stream = _ChannelStream(self._plain)
        self._finishing = threading.Event()
        # Daemons: they may hang in a network read when a failed run ends, and must not keep the process.
        self._threads = [
            threading.Thread(target=_run, args=(work, channels), name="layer", daemon=True)
            for work, channels in (
                (self._fetch, (self._fetched,)),
                (self._inflate, (self._plain, self._fetched)),
            )
        ]
        for thread in self._threads:
            thread.start()

    def read(self, size: int, /) -> bytes:
        """The next chunk (its size is the producer's choice), `b""` at the end."""
        return self._plain_stream.read(size)

    def finish(self) -> None:
        """Take note that the tar has ended; returns once the digests were found right, or raises
        ExplainedError."""
        self._finishing.set()
        while self.read(_CHUNK):
            pass

    def close(self) -> None:
        """Give up, if it has not ended by itself."""
        _close([self])

    def abandon(self) -> None:
        """Let the threads end as soon as they notice."""
        self._plain.abandon()
        self._fetched.abandon()

    def join(self, seconds: float) -> None:
        """Wait for the threads, up to a maximum for each: one may hang in a network read."""
        for thread in self._threads:
            thread.join(max(0.0, seconds))

    def _fetch(self) -> None:
        raw = self._layer.open()
        try:
            while piece := _read_piece(raw):
                self._fetched.put(piece)
        finally:
            raw.close()
        self._fetched.put(b"")

    def _inflate(self) -> None:
        source = _ChannelStream(self._fetched)
        digest = hashlib.sha256() if self._layer.diff_id else None
        plain = decompressed(source, self._what)
        trailer = 0
        while not (self._finishing.is_set() and digest is None):
            chunk = plain.read(_CHUNK)
            if not chunk:
                break
            if digest is not None:
                digest.update(chunk)
            if self._finishing.is_set():
                trailer += len(chunk)
                if trailer > _MAXIMUM_TRAILER:
                    raise broken(f"{self._what} has more than {_MAXIMUM_TRAILER} bytes after its end")
            else:
                self._plain.put(chunk)
        while source.read(_CHUNK):
            pass  # only for the digest: data after the tar is not decompressed
        if digest is not None and f"sha256:{digest.hexdigest()}" != self._layer.diff_id:
            raise ExplainedError(
                f"{self._what} is damaged: its content is sha256:{digest.hexdigest()}, "
                f"not {self._layer.diff_id}",
                advice="Save the image again and deploy",
                kind=ErrorKind.DIGEST_MISMATCH,
            )
        self._plain.put(b"")


def read_ahead(layers: Sequence[Layer], what: str) -> Generator[LayerReader]:
    """A reader for each layer in turn; a few more are downloaded ahead. Each is closed when the next is
    requested, and all when the iterator is closed."""
    pending = deque(layers)
    readers: deque[LayerReader] = deque()
    try:
        while pending or readers:
            while pending and len(readers) <= LAYERS_AHEAD:
                readers.append(LayerReader(pending.popleft(), what))
            yield readers[0]
            readers.popleft().close()
    finally:
        _close(readers)


def _close(readers: Iterable[LayerReader]) -> None:
    """Give up all of them, within a second: time may be up."""
    until = time.monotonic() + _END_S
    for reader in readers:
        reader.abandon()
    for reader in readers:
        reader.join(until - time.monotonic())


class _Abandoned(Exception):  # noqa: N818 - ends an abandoned thread
    """There is no reader any more."""


class _Channel:
    """Passes chunks from one thread to another, with up to `room` of them in between. `b""` is the end.

    Unlike a queue's, both its ends wake up when it is abandoned.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._items: deque[bytes | BaseException] = deque()
        self._changed = threading.Condition()
        self._abandoned = False

    def put(self, item: bytes | BaseException) -> None:
        """Hand on a chunk, or the error that the other end is to raise."""
        with self._changed:
            while len(self._items) >= self._room and not self._abandoned:
                self._changed.wait()
            if self._abandoned:
                raise _Abandoned
            self._items.append(item)
            self._changed.notify()

    def get(self) -> bytes:
        """The next chunk."""
        with self._changed:
            while not self._items and not self._abandoned:
                self._changed.wait()
            if self._abandoned:
                raise _Abandoned
            item = self._items.popleft()
            self._changed.notify()
        if isinstance(item, BaseException):
            raise item
        return item

    def abandon(self) -> None:
        """Wake up waiting threads, and discard all further chunks."""
        with self._changed:
            self._abandoned = True
            self._items.clear()
            self._changed.notify_all()


class _ChannelStream:
    """The chunks of a channel as a stream; they have the sender's size."""

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel
        self._ended = False

    def read(self, _size: int, /) -> bytes:
        if self._ended:
            return b""
        chunk = self._channel.get()
        self._ended = not chunk
        return chunk

    def close(self) -> None:
        self._channel.abandon()


def _run(work: Callable[[], None], channels: tuple[_Channel, ...]) -> None:
    """The body of a thread: its error is sent through the first channel, and the others are abandoned."""
    try:
        work()
    except _Abandoned:
        pass
    except BaseException as error:
        with contextlib.suppress(_Abandoned):
            channels[0].put(error)
        for channel in channels[1:]:
            channel.abandon()


def _read_piece(raw: ByteStream) -> bytes:
    """About `_PIECE` bytes, `b""` at the end."""
    piece = raw.read(_PIECE)
    if not piece or len(piece) >= _PIECE // 2:
        return piece
    parts = [piece]
    size = len(piece)
    while size < _PIECE and (more := raw.read(_PIECE - size)):
        parts.append(more)
        size += len(more)
    return b"".join(parts)
