"""Common code for file servers over HTTP with folders and a rename operation.

An upload has three steps, each in parallel where that helps:

1. folders: missing folders of the files are created;
2. send: each file is sent under a temporary name in its folder, `.scar-RANDOM.part`;
3. publish: after *all* of them have been sent, each is renamed to its final name.

A file is never visible while it is incomplete, and an upload that fails while sending makes nothing visible.
Sent files are then removed, if the server still answers; a runner that is killed leaves temporary files.

Every step is retried on temporary errors of the server. A rename whose answer was lost may have happened, so
it cannot simply be repeated: `_publish` checks whether the temporary file still exists.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Protocol, TypeVar

from containers.errors import ErrorKind, ExplainedError
from containers.http_client import NETWORK_ERRORS
from runtime.storage.address import encoded_path
from runtime.storage.contract import StoredObject, Upload, content_type, ignore_metadata
from runtime.storage.http import (
    NO_SPACE,
    NOT_FOUND,
    UNAUTHORIZED,
    HttpServer,
    ServerAnswer,
    StumbledError,
)
from runtime.storage.upload_time import cut_short, seconds_left, too_much

Result = TypeVar("Result")

PARALLEL = 6


@dataclass(frozen=True, slots=True)
class _Sending:
    """One file during the upload. Paths are file paths, not yet URL paths."""

    upload: Upload
    folder: str
    temporary: str
    target: str


class FileProtocol(Protocol):
    """What differs from one kind of server to another. Paths are percent-encoded and start with `/`."""

    server: HttpServer

    def url_path(self, path: str) -> str:
        """The whole path of a file's URL; `path` is encoded, below the root of the storage."""
        ...

    def make_folder(self, path: str) -> ServerAnswer | None:
        """Create one folder. Returns None if it exists now, otherwise the answer with the reason."""
        ...

    def exists(self, path: str) -> bool:
        """Whether a file or folder with that name exists."""
        ...

    def rename(self, source: str, target: str) -> ServerAnswer:
        """Rename a file, replacing an existing one."""
        ...

    def media_type(self, guessed: str) -> str:
        """The Content-Type of a file that looks like one of `guessed`."""
        ...


class FileServerStorage:
    """A `Storage` by means of a `FileProtocol`."""

    def __init__(self, protocol: FileProtocol) -> None:
        self._protocol = protocol
        self._server = protocol.server

    def download(
        self,
        source: StoredObject,
        target: Path,
        *,
        on_size: Callable[[int], None],
        on_metadata: Callable[[Mapping[str, str]], None] = ignore_metadata,
    ) -> int:
        """See `Storage.download`."""
        what = f"the input {source}"
        on_metadata({})
        try:
            path = self._protocol.url_path(encoded_path(source.bucket, source.key))
        except ValueError:
            raise ExplainedError(
                f"The input {source} has a key that is not a valid path",
                advice="Segments of a path cannot be empty, `.` or `..`.",
                kind=ErrorKind.INPUT_MISSING,
            ) from None

        def fetch() -> ServerAnswer:
            with target.open("wb") as file:
                return self._server.fetch(path, file, on_size)

        try:
            answer = self._server.persistently(
                fetch,
                lambda reason: ExplainedError(
                    f"T{what[1:]} could not be downloaded: {reason}",
                    advice="The event will be retried.",
                    kind=ErrorKind.DOWNLOAD_FAILED,
                ),
            )
        finally:
            self._server.close()
        if answer.ok:
            return target.stat().st_size
        if answer.status == NOT_FOUND:
            raise ExplainedError(
                f"The input {source} does not exist",
                advice="It was deleted or renamed; upload it again, or correct the path.",
                kind=ErrorKind.INPUT_MISSING,
            )
        raise self._server.refusal(answer, what) or ExplainedError(
            f"T{what[1:]} could not be downloaded: {self._said(answer)}", kind=ErrorKind.DOWNLOAD_FAILED
        )

    def require_time(self, uploads: Sequence[Upload], until: float) -> None:
        """See `Storage.require_time`: the time is measured while files are sent under temporary names."""
        seconds_left(uploads, until)

    def upload(self, uploads: Sequence[Upload], until: float = math.inf) -> None:
        """See `Storage.upload`."""
        fastest_s = math.inf

        def send(sending: _Sending) -> None:
            nonlocal fastest_s
            started = time.monotonic()
            if started >= until:
                raise cut_short(uploads, 0)
            self._send(sending)
            fastest_s = min(fastest_s, time.monotonic() - started)

        run = token_hex(8)
        plan = [self._plan(upload, f".scar-{run}-{number}.part") for number, upload in enumerate(uploads)]
        try:
            made: set[str] = set()
            for sending in plan:
                self._make_folders(sending, made)
            try:
                _in_parallel(send, plan)
                # A rename takes about as long as the quickest file took to send.
                _require_time(uploads, len(plan) / PARALLEL * fastest_s, until)
                _in_parallel(self._publish, plan)
            except BaseException:
                self._discard(plan)
                raise
        finally:
            self._server.close()

    def _plan(self, upload: Upload, temporary: str) -> _Sending:
        try:
            target = encoded_path(upload.bucket, upload.key)
        except ValueError:
            raise ExplainedError(
                f"The output {self._name(upload)} has a path that {self._server.name} cannot store",
                advice="Segments of a path cannot be empty, `.` or `..`; correct `path` of the output.",
                kind=ErrorKind.OUTPUT_NAME,
            ) from None
        folder = target.rpartition("/")[0]
        return _Sending(upload, folder, f"{folder}/{temporary}", target)

    def _make_folders(self, sending: _Sending, made: set[str]) -> None:
        """From the deepest folder upwards to the first that exists, and back: usually one request."""
        wanted = [sending.folder]
        while wanted:
            folder = wanted[-1]
            if not folder or folder in made:
                wanted.pop()
                continue
            answer = self._patiently(sending, partial(self._protocol.make_folder, folder))
            if answer is None:
                made.add(wanted.pop())
                made.update(_parents(folder))  # its parents exist, too
                continue
            parent = folder.rpartition("/")[0]
            if answer.status in (UNAUTHORIZED, NO_SPACE) or not parent or parent in made:
                raise self._refused(sending, answer, "its folder could not be created")
            wanted.append(parent)

    def _send(self, sending: _Sending) -> None:
        kind = content_type(sending.upload.key)
        headers = {"Content-Type": self._protocol.media_type(kind)}
        path = self._protocol.url_path(sending.temporary)

        def send() -> ServerAnswer:
            with sending.upload.file.open("rb") as file:
                return self._server.send(path, file, sending.upload.size, headers)

        answer = self._patiently(sending, send)
        if not answer.ok:
            raise self._refused(sending, answer, "it was not taken")

    def _publish(self, sending: _Sending) -> None:
        in_doubt = False

        def publish() -> ServerAnswer | None:
            nonlocal in_doubt
            if in_doubt and not self._protocol.exists(sending.temporary):
                if self._protocol.exists(sending.target):
                    return None  # the rename had happened, only its answer was lost
                raise StumbledError("the temporary file is missing")
            in_doubt = True
            return self._protocol.rename(sending.temporary, sending.target)

        answer = self._patiently(sending, publish)
        if answer is not None and not answer.ok:
            raise self._refused(sending, answer, "it could not be renamed to its final name")

    def _discard(self, plan: Iterable[_Sending]) -> None:
        for sending in plan:
            try:
                self._server.ask("DELETE", self._protocol.url_path(sending.temporary))
            except StumbledError:
                continue
            except (*NETWORK_ERRORS, ExplainedError):
                return  # the server is unavailable; more requests would only take time

    def _patiently(self, sending: _Sending, work: Callable[[], Result]) -> Result:
        return self._server.persistently(
            work,
            lambda reason: ExplainedError(
                f"The output {self._name(sending.upload)} ({sending.upload.size} bytes) could not be "
                f"uploaded: {reason}",
                advice="The event will be retried.",
                kind=ErrorKind.UPLOAD_FAILED,
            ),
        )

    def _refused(self, sending: _Sending, answer: ServerAnswer, problem: str) -> ExplainedError:
        name = f"the output {self._name(sending.upload)}"
        return self._server.refusal(answer, name) or ExplainedError(
            f"T{name[1:]} could not be uploaded, {problem}: {self._said(answer)}",
            kind=ErrorKind.UPLOAD_FAILED,
        )

    def _said(self, answer: ServerAnswer) -> str:
        return f"{self._server} answers {answer.said}"

    def _name(self, upload: Upload) -> str:
        return str(StoredObject(upload.bucket, upload.key, provider=self._server.name))


def _require_time(uploads: Sequence[Upload], needed_s: float, until: float) -> None:
    left_s = until - time.monotonic()
    if needed_s > left_s:
        raise too_much(uploads, needed_s, max(0.0, left_s))


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _in_parallel(work: Callable[[_Sending], None], plan: Sequence[_Sending]) -> None:
    """Do it for all. The first failure cancels what has not started, and is raised after the rest has
    ended."""
    with ThreadPoolExecutor(max(1, min(PARALLEL, len(plan)))) as pool:
        futures = [pool.submit(work, sending) for sending in plan]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
