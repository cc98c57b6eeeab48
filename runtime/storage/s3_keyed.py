"""S3 with separate keys: `s3.NAME`, another AWS account, and `minio.NAME`, any S3-compatible server.

The keys replace the function's role: neither its session token nor its credentials are sent there. For
`minio`, checksums that only newer servers support are left out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from containers import aws
from containers.errors import ErrorKind, ExplainedError
from runtime.config import StorageConnection
from runtime.storage.address import ServerAddress
from runtime.storage.contract import CredentialsRefusedError
from runtime.storage.s3 import S3Storage

ATTEMPTS = 4
_ABOUT_KEYS = (
    "AuthFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "401",
    "Unauthorized",
)


class KeyedS3Storage(S3Storage):
    """The `Storage` of providers `s3.NAME` and `minio.NAME`."""

    def __init__(self, provider: StorageConnection, settings: Mapping[str, str]) -> None:
        self.provider = provider.name
        self._verify = provider.verify
        self._settings = settings
        super().__init__()

    def connect(self) -> Any:
        """A client with the keys, created for each use, because keys can change."""
        import boto3

        endpoint, region = None, self._settings.get("region")
        more: dict[str, Any] = {}
        path_style = aws.own_endpoint(os.environ, "s3") is not None
        if "endpoint" in self._settings:
            endpoint = ServerAddress.parse(self._settings["endpoint"], f"endpoint of {self.provider}").url
            region = region or "us-east-1"
            path_style = True
            # Since 1.36, botocore adds a CRC trailer to every upload, which older servers do not support.
            more = {
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            }
        if not self._verify:
            import warnings

            from urllib3.exceptions import InsecureRequestWarning

            # the user turned verification off; one warning is enough
            warnings.simplefilter("ignore", InsecureRequestWarning)
        return boto3.session.Session().client(
            "s3",
            aws_access_key_id=self._settings["access_key"],
            aws_secret_access_key=self._settings["secret_key"],
            region_name=region,
            endpoint_url=endpoint,
            verify=None if self._verify else False,
            config=aws.client_config(path_style=path_style, attempts=ATTEMPTS, **more),
        )

    def is_denied(self, code: str) -> bool:
        """Also for wrong keys."""
        return super().is_denied(code) or code in _ABOUT_KEYS

    def refused(self, action: str, subject: str, code: str) -> ExplainedError:
        """See `S3Storage.refused`; newer keys might help."""
        what, can = ("output", "write to") if "Put" in action else ("input", "read")
        if code == "NoSuchBucket":
            return ExplainedError(
                f"The bucket of the {what} {subject} does not exist",
                advice=f"Create it at {self.provider}, or correct the path.",
                kind=ErrorKind.STORAGE_REFUSED,
            )
        return CredentialsRefusedError(
            f"{self.provider} refused the {what} {subject} ({code})",
            advice=f"Check its access_key and secret_key, and that the account may {can} the bucket.",
        )
