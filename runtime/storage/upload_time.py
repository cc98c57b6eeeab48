"""Whether there is enough time for an upload, checked before its first file becomes visible.

A function that is killed in the middle of its uploads leaves some of its outputs, and each of them may have
started the next function of the workflow. The time for an upload is therefore estimated from the measured
speed of the storage in this execution environment, and compared with the remaining time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from containers.errors import ErrorKind, ExplainedError
from runtime.storage.contract import Upload

MIB = 1024 * 1024
_ADVICE = (
    "Raise `timeout`, or `container.timeout_threshold`, which is reserved for uploads; or write fewer files "
    "(an archive, for example); or use `execution_mode: lambda-batch` or `batch`."
)


@dataclass(frozen=True, slots=True)
class UploadPace:
    """The measured speed of a storage, with as many parallel requests as uploads use."""

    requests_per_s: float
    bytes_per_s: float

    def needed_s(self, requests: int, size: int) -> float:
        """Seconds for that many requests with that many bytes."""
        return requests / self.requests_per_s + size / self.bytes_per_s


def seconds_left(uploads: Sequence[Upload], until: float) -> float:
    """Until `until` (`time.monotonic`). Raises `ExplainedError` of kind `TimedOut` if that has passed."""
    left = until - time.monotonic()
    if left <= 0:
        raise no_time(uploads, f"there is no time left to upload {_amount(uploads)}: none was uploaded")
    return left


def no_time(uploads: Sequence[Upload], what: str) -> ExplainedError:
    """The error of an upload that cannot end in time; its kind makes `lambda-batch` submit the run to
    Batch."""
    return ExplainedError(
        f"{what[:1].upper()}{what[1:]}", advice=_ADVICE if uploads else "", kind=ErrorKind.TIMED_OUT
    )


def too_much(uploads: Sequence[Upload], needed_s: float, left_s: float) -> ExplainedError:
    """The error of an upload that was not started."""
    return no_time(
        uploads,
        f"{_amount(uploads)} would take about {needed_s:.0f} s to upload at the current speed of the "
        f"storage, and {left_s:.0f} s are left: none was uploaded",
    )


def cut_short(uploads: Sequence[Upload], visible: int) -> ExplainedError:
    """The error of an upload that was stopped."""
    done = f"{visible} of them are visible" if visible else "none of them is visible"
    return no_time(uploads, f"time ran out during the upload of {_amount(uploads)}: {done}")


def _amount(uploads: Sequence[Upload]) -> str:
    size = sum(upload.size for upload in uploads)
    amount = f"{size / MIB:,.1f} MiB" if size >= MIB else f"{size} bytes"
    return f"{len(uploads)} output files ({amount})" if len(uploads) != 1 else f"1 output file ({amount})"
