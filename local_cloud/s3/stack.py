"""`AWS::S3::Bucket` in the emulator's CloudFormation: as on AWS, a bucket with objects is not deleted.

ministack deletes the bucket, but not its files on disk, which reappear at the next start.
"""

from __future__ import annotations

import re
from typing import Any

from ministack.services import s3
from ministack.services.cloudformation import provisioners

_NO_CONTENT, _NOT_FOUND = 204, 404


def install() -> None:
    """Take the place of ministack's deletion."""
    provisioners._RESOURCE_HANDLERS["AWS::S3::Bucket"]["delete"] = delete_bucket


def delete_bucket(physical_id: str, _props: dict[str, Any]) -> None:
    """Delete an empty bucket. A missing bucket is not an error.

    Raises:
        ValueError: it contains objects, or S3 rejects the request for another reason.
    """
    status, _headers, body = s3._delete_bucket(physical_id)
    if status not in (_NO_CONTENT, _NOT_FOUND):
        text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
        message = re.search(r"<Message>(.*?)</Message>", text)
        raise ValueError(message[1] if message else text)
