"""Writes an object to S3 once for each claim (`once`), whatever is repeated or runs at the same time.

A request whose answer was lost may have succeeded: repeated, it would make a second version of the object,
and a second event for the next function. So would a run that repeats the work of a dead one. Each write
therefore has a condition, that the object is as it was before (`If-None-Match`, `If-Match`), and each object
names the claim that it was written under. If the condition is false, or the outcome unknown, the object shows
whether the write is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from containers import aws
from containers.errors import ErrorKind, ExplainedError
from runtime.storage.contract import Upload

METADATA = "scar-claim"
"""Name of the metadata of an object: the id of the claim."""
ATTEMPTS = 6
_LONGEST_PAUSE_S = 10.0
_SERVER_ERROR = 500
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")
_PASSING = ("RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException")

Condition = Mapping[str, str]
Write = Callable[[Any, Condition], object]
"""Sends the request with a client, and a condition as arguments."""

ABSENT: Condition = {"IfNoneMatch": "*"}


def condition_now(upload: Upload) -> Condition | None:
    """The condition that the object is as it is now; None: it was already written under the claim.

    Raises botocore's errors.
    """
    from botocore.exceptions import ClientError

    try:
        found = aws.client("s3").head_object(Bucket=upload.bucket, Key=upload.key)
    except ClientError as error:
        # Without permission to list the bucket, S3 also refuses to tell that an object is missing.
        if error.response["Error"]["Code"] in ("403", "404"):
            return ABSENT
        raise
    if found["Metadata"].get(METADATA) == upload.claim:
        return None
    return {"IfMatch": found["ETag"]}


def write_once(upload: Upload, write: Write, condition: Condition | None = ABSENT) -> bool:
    """Write the object, unless it was already written under the claim; returns whether this call did.

    Raises `ExplainedError` (`StorageRefused`) or botocore's errors.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    # botocore would repeat a request without looking at the object, whose ETag may be the same as before.
    client, attempt = aws.client("s3", attempts=1), 0
    while condition is not None:
        try:
            write(client, condition)
        except (ClientError, BotoCoreError) as error:
            attempt += 1
            code, is_passing = _read(error)
            if attempt == ATTEMPTS or not (is_passing or code in _CHANGED):
                raise
            if is_passing:
                time.sleep(min(_LONGEST_PAUSE_S, 0.1 * 2**attempt))
        else:
            return True
        now = condition_now(upload)
        if code == "PreconditionFailed" and condition == now == ABSENT:
            raise ExplainedError(
                f"Amazon S3 does not show the output s3://{upload.bucket}/{upload.key}, which exists",
                advice="With `once`, the function's role needs s3:GetObject on its outputs.",
                kind=ErrorKind.STORAGE_REFUSED,
            )
        condition = now
    return False


def _read(error: Any) -> tuple[str, bool]:
    """The code of an error, and whether the same request may succeed another time."""
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

    if not isinstance(error, ClientError):
        return "", isinstance(error, ConnectionError | HTTPClientError)
    code = str(error.response["Error"]["Code"])
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return code, status >= _SERVER_ERROR or code in _PASSING
