"""A minimal signed HTTP client that sends an event for each of many keys, in threads.

    python -m benchmarks.fan_out_bare ENDPOINT KEYS THREADS

Keys are prepared beforehand. Each thread keeps its connection, and botocore signs each call. Nothing is
listed, recorded, retried or shown.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from http.client import HTTPConnection
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.fan_out_endpoint import key_of

_EVENT = (
    '{"Records": [{"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventTime": '
    '"2026-01-01T00:00:00.000Z", "eventName": "ObjectCreated:Put", "s3": {"s3SchemaVersion": "1.0", '
    '"configurationId": "bench", "bucket": {"name": "bench-bucket", "arn": "arn:aws:s3:::bench-bucket"}, '
    '"object": {"key": "%s", "size": 1000, "eTag": "0"}}}]}'
)
_ACCEPTED = 202


def main() -> None:
    """Send all events; stop at the first call that is not accepted."""
    endpoint, threads = sys.argv[1], int(sys.argv[3])
    keys = [key_of(number) for number in range(int(sys.argv[2]))]
    refused: list[int] = []
    running = [
        threading.Thread(target=_send, args=(endpoint, keys[number::threads], refused))
        for number in range(threads)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if refused:
        raise SystemExit(f"fan_out_bare: answered with {refused[0]}")


def _send(endpoint: str, keys: Sequence[str], refused: list[int]) -> None:
    signer = SigV4Auth(Credentials("test", "test"), "lambda", "us-east-1")
    path = "/2015-03-31/functions/bench/invocations"
    connection = HTTPConnection(urlsplit(endpoint).netloc)
    for key in keys:
        body = (_EVENT % key).encode()
        request = AWSRequest("POST", endpoint + path, {"X-Amz-Invocation-Type": "Event"}, body)
        signer.add_auth(request)
        connection.request("POST", path, body, dict(request.headers))
        answer = connection.getresponse()
        answer.read()
        if answer.status != _ACCEPTED:
            refused.append(answer.status)
            return
    connection.close()


if __name__ == "__main__":
    main()
