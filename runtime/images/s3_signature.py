"""Requests to S3, signed with AWS Signature Version 4, without an SDK.

boto3 takes a third of a second of processor time to load and to make its first client, and 2 ms more for each
request. That is what reading a small image from S3 takes altogether, so that the runner's second tier
(`s3_tier`) speaks to S3 by itself: two verbs, one object each. The rules are AWS's: "Create a signed AWS API
request" of the IAM user guide.
"""

from __future__ import annotations

import hashlib
import hmac
import time
import urllib.parse
from collections.abc import Mapping

from runtime.aws import own_endpoint

_ALGORITHM = "AWS4-HMAC-SHA256"


def object_url(bucket: str, key: str, region: str, environ: Mapping[str, str]) -> str:
    """Where the object is; at an endpoint of one's own with the bucket in the path, as no name resolves
    there."""
    path = urllib.parse.quote(key, safe="/-_.~")
    if endpoint := own_endpoint(environ, "s3"):
        return f"{endpoint.rstrip('/')}/{bucket}/{path}"
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{bucket}.s3.{region}.{domain}/{path}"


def signed_headers(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | bytearray,
    *,
    region: str,
    credentials: Mapping[str, str],
    now: float | None = None,
) -> dict[str, str]:
    """`headers` and those that sign the request.

    The query of `url` must be sorted and quoted. `credentials` is as `aws.credentials` gives them; `now` is
    the time in seconds since 1970.
    """
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() if now is None else now))
    parts = urllib.parse.urlsplit(url)
    content_hash = hashlib.sha256(body).hexdigest()
    every = {**headers, "Host": parts.netloc, "X-Amz-Date": moment, "X-Amz-Content-Sha256": content_hash}
    if token := credentials.get("AWS_SESSION_TOKEN"):
        every["X-Amz-Security-Token"] = token
    lines = {name.lower(): value.strip() for name, value in every.items()}
    names = ";".join(sorted(lines))
    canonical = "\n".join(
        [
            method,
            parts.path or "/",
            parts.query,
            *(f"{name}:{lines[name]}" for name in sorted(lines)),
            "",
            names,
            content_hash,
        ]
    )
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    to_sign = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{credentials['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    every["Authorization"] = (
        f"{_ALGORITHM} Credential={credentials['AWS_ACCESS_KEY_ID']}/{scope}, "
        f"SignedHeaders={names}, Signature={key.hex()}"
    )
    return every
