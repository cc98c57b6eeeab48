"""Uploads many files to S3. They become visible as late as possible, and none of them if there is not enough
time for all.

S3 has no transactions over several objects. The closest is:

1. Large files are uploaded in parallel parts. They are not visible until the upload is completed.
2. If the remaining time might not be enough for the small files and the completion of the large ones, the
   speed of S3 is measured with the beginnings of a few of the files, in uploads that are never completed. If
   there is not enough time for all, the run ends here, and nothing is visible.
3. Then small files are uploaded and large uploads completed, in one burst.

A failure in the burst leaves the files that were uploaded before it. Incomplete uploads are aborted; those of
a killed run are invisible, and removed by the bucket's lifecycle rule.

With `once`, each file is written once for each input (`s3_once`).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from containers.errors import ErrorKind, ExplainedError
from runtime.storage.contract import TRACE_METADATA, Upload, content_type
from runtime.storage.s3_once import METADATA, Condition, condition_now, write_once
from runtime.storage.upload_time import UploadPace, cut_short, seconds_left, too_much

Item = TypeVar("Item")
Result = TypeVar("Result")

MIB = 1024 * 1024
PARALLEL = 8
LARGE_BYTES = 16 * MIB
"""Files of this size or more are uploaded in parts."""
PART_BYTES = 8 * MIB
_MAXIMUM_PARTS = 10_000
_PROBED = PARALLEL
_PROBED_BYTES = MIB
_PROBES = 3
_SURELY_S = 5.0
_SURELY_BYTES_PER_S = MIB
"""If there is enough time even at this very slow speed, nothing is measured."""
_AMPLE = 4
_TO_STOP_S = 1.0

_paces: dict[str, UploadPace] = {}
"""The speed that was measured in this execution environment, by endpoint."""


@dataclass(slots=True)
class _Begun:
    """A file in parts."""

    upload: Upload
    id: str
    condition: Condition | None = None
    """Of the completion, with `once`."""
    parts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def place(self) -> dict[str, str]:
        return {"Bucket": self.upload.bucket, "Key": self.upload.key, "UploadId": self.id}


class S3Uploader:
    """Uploads with `client`; `failed` returns the error for a file that could not be uploaded."""

    def __init__(self, client: Any, failed: Callable[[Upload, Exception], ExplainedError]) -> None:
        self._client = client
        self._failed = failed
        checksums = client.meta.config.request_checksum_calculation != "when_required"
        self._algorithm = {"ChecksumAlgorithm": "CRC32"} if checksums else {}
        self._begun: dict[tuple[str, str], _Begun] = {}
        self._visible = 0

    def require_time(self, uploads: Sequence[Upload], until: float) -> None:
        """Raise `ExplainedError` of kind `TimedOut` if the uploads would not end before `until`."""
        self._require_time(uploads, sum(map(_requests, uploads)), sum(one.size for one in uploads), until)

    def upload(self, uploads: Sequence[Upload], until: float) -> None:
        """Upload all. Raises `ExplainedError`, after aborting what can be aborted."""
        large = [upload for upload in uploads if upload.size >= LARGE_BYTES]
        small = [upload for upload in uploads if upload.size < LARGE_BYTES]
        pool = ThreadPoolExecutor(PARALLEL)
        try:
            if large:
                self._all(pool, self._begin, large, until, uploads)
                parts = [(begun, number) for begun in self._begun.values() for number in _parts(begun.upload)]
                self._all(pool, self._send_part, parts, until, uploads)
                self._require_time(uploads, len(uploads), sum(upload.size for upload in small), until)
            # The slowest requests first.
            self._all(pool, self._finish, list(self._begun.values()), until, uploads)
            self._all(pool, self._put, small, until, uploads)
        except BaseException as error:
            # There is no time to wait for a hanging request.
            is_late = isinstance(error, ExplainedError) and error.kind == ErrorKind.TIMED_OUT
            pool.shutdown(wait=not is_late, cancel_futures=True)
            self._abort_all()
            raise
        pool.shutdown()

    # -- requests, one each

    def _begin(self, upload: Upload) -> _Begun | None:
        """None: it was already written under its claim."""
        with self._explained(upload):
            condition = None
            if upload.claim is not None:
                condition = condition_now(upload)
                if condition is None:
                    self._visible += 1
                    return None
            answer = self._client.create_multipart_upload(**_target(upload), **self._algorithm)
        begun = _Begun(upload, answer["UploadId"], condition)
        self._begun[upload.bucket, upload.key] = begun
        return begun

    def _send_part(self, part: tuple[_Begun, int], longest: int | None = None) -> None:
        from s3transfer.utils import ReadFileChunk

        begun, number = part
        size = _part_bytes(begun.upload) if longest is None else longest
        with (
            self._explained(begun.upload),
            ReadFileChunk.from_filename(str(begun.upload.file), (number - 1) * size, size) as body,
        ):
            answer = self._client.upload_part(PartNumber=number, Body=body, **begun.place)
        checksums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
        checksums.pop("ChecksumType", None)
        begun.parts.append({"PartNumber": number, "ETag": answer["ETag"], **checksums})

    def _finish(self, begun: _Begun) -> None:
        parts = sorted(begun.parts, key=lambda part: int(part["PartNumber"]))

        def complete(client: Any, condition: Condition) -> None:
            client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **begun.place, **condition)

        with self._explained(begun.upload):
            if begun.upload.claim is None:
                complete(self._client, {})
            elif not write_once(begun.upload, complete, begun.condition):
                self._abort(begun)
        self._begun.pop((begun.upload.bucket, begun.upload.key), None)
        self._visible += 1

    def _put(self, upload: Upload) -> None:
        def put(client: Any, condition: Condition) -> None:
            with upload.file.open("rb") as body:
                client.put_object(**_target(upload), Body=body, **condition)

        with self._explained(upload):
            if upload.claim is None:
                put(self._client, {})
            else:
                write_once(upload, put)
        self._visible += 1

    def _abort(self, begun: _Begun) -> None:
        with contextlib.suppress(Exception):  # it is invisible; the bucket's lifecycle rule removes it
            self._client.abort_multipart_upload(**begun.place)
        self._begun.pop((begun.upload.bucket, begun.upload.key), None)

    def _abort_all(self) -> None:
        if self._begun:
            pool = ThreadPoolExecutor(PARALLEL)
            wait([pool.submit(self._abort, begun) for begun in list(self._begun.values())], _TO_STOP_S)
            pool.shutdown(wait=False, cancel_futures=True)

    @contextlib.contextmanager
    def _explained(self, upload: Upload) -> Any:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error, OSError) as error:
            raise self._failed(upload, error) from None

    # -- time

    def _all(
        self,
        pool: ThreadPoolExecutor,
        work: Callable[[Item], object],
        items: Sequence[Item],
        until: float,
        uploads: Sequence[Upload],
    ) -> None:
        """Do it for all, until the time is up; the first failure is raised."""

        def in_time(item: Item) -> None:
            if time.monotonic() >= until:
                raise _TimeIsUpError
            work(item)

        futures = [pool.submit(in_time, item) for item in items]
        try:
            _wait_for(futures, until)
        except _TimeIsUpError:
            for future in futures:
                future.cancel()
            wait(futures, _TO_STOP_S)  # requests in flight may still succeed: they are counted
            raise cut_short(uploads, self._visible) from None

    def _require_time(self, uploads: Sequence[Upload], requests: int, size: int, until: float) -> None:
        left = seconds_left(uploads, until)
        waves = -(-requests // PARALLEL)
        if waves * _SURELY_S + size / _SURELY_BYTES_PER_S <= left:
            return
        endpoint = str(self._client.meta.endpoint_url)
        pace = _paces.get(endpoint)
        if pace is not None and _AMPLE * pace.needed_s(requests, size) <= left:
            return
        needed: list[float] = []
        for _ in range(_PROBES):  # the best of several: one may have been slowed down by other load
            pace = self._measured(uploads)
            if pace is None:
                return  # the upload itself reports the problem
            _paces[endpoint] = pace
            needed.append(pace.needed_s(requests, size))
            if needed[-1] <= until - time.monotonic():
                return
        raise too_much(uploads, min(needed), max(0.0, until - time.monotonic()))

    def _measured(self, uploads: Sequence[Upload]) -> UploadPace | None:
        """The speed of requests and bytes, measured with multipart uploads that are then aborted."""
        probe = S3Uploader(self._client, self._failed)
        largest = sorted(uploads, key=lambda upload: upload.size)[-_PROBED:]
        chosen = [replace(upload, claim=None) for upload in largest]
        with ThreadPoolExecutor(PARALLEL) as pool:
            try:
                # Opens the connections, too.
                begun = [one for one in pool.map(probe._begin, chosen) if one is not None]
                sent_s = _timed(pool, lambda one: probe._send_part((one, 1), _PROBED_BYTES), begun)
                asked_s = _timed(pool, probe._abort, begun)
            except (ExplainedError, KeyError):
                return None
            finally:
                probe._abort_all()
        sent = sum(min(one.size, _PROBED_BYTES) for one in chosen)
        carrying_s = max(sent_s - asked_s, sent_s / 10)
        return UploadPace(len(chosen) / asked_s, max(sent, 1) / carrying_s)


class _TimeIsUpError(Exception):
    pass


def _timed(pool: ThreadPoolExecutor, work: Callable[[Item], object], items: Iterable[Item]) -> float:
    started = time.monotonic()
    list(pool.map(work, items))
    return max(time.monotonic() - started, 1e-6)


def _wait_for(futures: Sequence[Future[None]], until: float) -> None:
    for future in futures:
        try:
            future.result(None if until == math.inf else max(0.0, until - time.monotonic()) + _TO_STOP_S)
        except TimeoutError:
            raise _TimeIsUpError from None


def _target(upload: Upload) -> dict[str, Any]:
    """Place and properties of the object."""
    metadata = {METADATA: upload.claim, TRACE_METADATA: upload.traceparent}
    return {
        "Bucket": upload.bucket,
        "Key": upload.key,
        "ContentType": content_type(upload.key),
        "Metadata": {name: value for name, value in metadata.items() if value is not None},
    }


def _requests(upload: Upload) -> int:
    return 1 if upload.size < LARGE_BYTES else 2 + len(_parts(upload))


def _part_bytes(upload: Upload) -> int:
    return max(PART_BYTES, -(-upload.size // _MAXIMUM_PARTS))


def _parts(upload: Upload) -> range:
    return range(1, -(-upload.size // _part_bytes(upload)) + 1)
