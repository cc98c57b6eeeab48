"""AWS's documented limits, as token buckets that hold one second.

- AWS Batch, "Service quotas": 50 SubmitJob calls per second in an account.
- Amazon S3, "Best practices design patterns": 3,500 PUT and 5,500 GET requests per second for each prefix.
- AWS Lambda, "Lambda quotas": an account's synchronous invocations per second are ten times its concurrency,
  1,000 by default; asynchronous ones are not limited.
- Amazon DynamoDB, "On-demand capacity mode": a new table takes 4,000 write units per second.
"""

from __future__ import annotations

from benchmarks.batch_endpoint import CALLS_PER_S, TokenBucket

_PER_S = {
    "batch submitjob": CALLS_PER_S,
    "s3 PUT": 3_500,
    "s3 GET": 5_500,
    "lambda invocations": 10_000,
    "dynamodb PutItem": 4_000,
    "dynamodb UpdateItem": 4_000,
}


class Limits:
    """The limits of an account, for requests that arrive `slower` times more slowly than on AWS."""

    def __init__(self, slower: float = 1.0) -> None:
        self._buckets = {
            action: TokenBucket(rate / slower, max(1.0, rate / slower)) for action, rate in _PER_S.items()
        }

    def allow(self, action: str, now: float) -> bool:
        """Whether a request at `now` (seconds) is below the limit of its action."""
        bucket = self._buckets.get(action)
        return bucket is None or bucket.take(now)
