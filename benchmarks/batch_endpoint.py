"""An endpoint on loopback that replaces S3, CloudFormation and AWS Batch, with AWS's limit for SubmitJob.

AWS accepts 50 calls of SubmitJob per second in an account. AWS does not document how it counts them; this
endpoint uses a token bucket that holds one second, as other AWS services do. Calls above the limit get the
response that AWS documents: 429 TooManyRequestsException.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

from benchmarks.fan_out_endpoint import Endpoint, http_response, xml_response

CALLS_PER_S = 50
BUCKET, FUNCTION = "bench-bucket", "bench"
_ARN = "arn:aws:batch:us-east-1:000000000000"
_OUTPUT = {
    "workflow": "bench",
    "buckets": [BUCKET],
    "functions": [
        {
            "name": FUNCTION,
            "mode": "batch",
            "log_group": f"/aws/lambda/{FUNCTION}",
            "failure_queue_url": "https://sqs.us-east-1.amazonaws.com/000000000000/failures",
            "inputs": [f"{BUCKET}/input"],
            "outputs": [],
            "job_queue": f"{_ARN}:job-queue/bench",
            "job_definition": f"{_ARN}:job-definition/bench:1",
            "batch_log_group": f"/aws/batch/{FUNCTION}",
            "event_bucket": "bench-events",
        }
    ],
}


@dataclass
class TokenBucket:
    """A rate limit: full at first, and filled at `rate` tokens per second."""

    rate: float
    capacity: float
    _tokens: float = -1.0
    _filled_at: float = 0.0

    def take(self, now: float) -> bool:
        """Take a token at the time `now`, in seconds; False if there is none."""
        if self._tokens < 0:
            self._tokens, self._filled_at = self.capacity, now
        self._tokens = min(self.capacity, self._tokens + (now - self._filled_at) * self.rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class BatchEndpoint(Endpoint):
    """Answers the requests of `scar-launch` for a function in `batch` mode, and counts them."""

    def __init__(self, keys: int) -> None:
        super().__init__(keys)
        self.calls = 0
        """Calls of SubmitJob."""
        self.throttled = 0
        self.jobs = 0
        """Jobs that were accepted; each child of an array job is one."""
        self.first = self.last = 0.0
        """When the first request arrived, and the last call of SubmitJob was accepted."""
        self._limit = TokenBucket(CALLS_PER_S, CALLS_PER_S)
        self._lock = threading.Lock()

    def answer(self, head: bytes, body: bytes) -> bytes:
        """The whole response to a request."""
        with self._lock:
            self.first = self.first or time.monotonic()
            if head.startswith(b"POST /v1/submitjob "):
                return self._submitted(json.loads(body))
            if head.startswith(b"PUT /"):
                return http_response(200, extra='ETag: "0"\r\n')
            if b"Action=DescribeStacks" in body:
                return _stacks()
            return super().answer(head, body)

    def _submitted(self, job: dict[str, dict[str, int]]) -> bytes:
        self.calls += 1
        now = time.monotonic()
        if not self._limit.take(now):
            self.throttled += 1
            error = "x-amzn-ErrorType: TooManyRequestsException\r\n"
            return http_response(429, b'{"message": "Too Many Requests"}', "application/json", error)
        self.last = now
        self.jobs += job.get("arrayProperties", {}).get("size", 1)
        job_id = f"00000000-0000-0000-0000-{self.calls:012d}"
        answer = {"jobId": job_id, "jobName": job["jobName"], "jobArn": f"{_ARN}:job/{job_id}"}
        return http_response(200, json.dumps(answer).encode(), "application/json")


@contextmanager
def running(keys: int) -> Iterator[tuple[BatchEndpoint, str]]:
    """The endpoint and its URL."""
    endpoint = BatchEndpoint(keys)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            head = f"{self.requestline}\r\n{self.headers}".encode("latin-1")
            self.wfile.write(endpoint.answer(head, body))

        do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815 (names of http.server)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield endpoint, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _stacks() -> bytes:
    output = escape(json.dumps(_OUTPUT))
    return xml_response(
        '<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">'
        "<DescribeStacksResult><Stacks><member><StackName>bench</StackName>"
        "<CreationTime>2026-01-01T00:00:00.000Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus>"
        "<Outputs><member><OutputKey>ScarWorkflow</OutputKey>"
        f"<OutputValue>{output}</OutputValue></member></Outputs>"
        "</member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
    )
