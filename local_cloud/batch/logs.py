"""A job's output, as events in the log group that its definition names by the awslogs options."""

from __future__ import annotations

import time
from typing import Any

_DEFAULT_GROUP = "/aws/batch/job"
_LINE_LIMIT = 16 * 1024
"""The container runtime cuts longer lines into several events."""
_FLUSH_EVERY_S = 0.2


class LogGroupMissingError(Exception):
    """The log group is not there; as on AWS the job cannot start then."""


class JobLog:
    """Splits what is written into lines and puts them into the job's log stream, a few times a second."""

    def __init__(self, account: str, region: str, group: str, stream: str) -> None:
        self.group = group
        self.stream = stream
        self._scope = (account, region)
        self._partial = b""
        self._events: list[dict[str, Any]] = []
        self._flushed_at = time.monotonic()

    @classmethod
    def open(cls, account: str, region: str, job: dict[str, Any]) -> JobLog:
        """Make the stream for the job's next attempt: `prefix/default/<task id>`.

        Raises:
            LogGroupMissingError: the log group does not exist, and is not Batch's own.
        """
        from ministack.core.responses import request_scope
        from ministack.services import cloudwatch_logs

        options = (job["container"].get("logConfiguration") or {}).get("options") or {}
        group = options.get("awslogs-group", _DEFAULT_GROUP)
        definition = job["jobDefinition"].rpartition("/")[2].partition(":")[0]
        task = job["container"]["taskArn"].rpartition("/")[2]
        stream = f"{options.get('awslogs-stream-prefix', definition)}/default/{task}"
        with request_scope(account, region):
            if group == _DEFAULT_GROUP or options.get("awslogs-create-group") == "true":
                cloudwatch_logs._create_log_group({"logGroupName": group})
            if group not in cloudwatch_logs._log_groups:
                raise LogGroupMissingError(
                    f"failed to validate logger args: The specified log group does not exist: {group}"
                )
            cloudwatch_logs._create_log_stream({"logGroupName": group, "logStreamName": stream})
        return cls(account, region, group, stream)

    def __enter__(self) -> JobLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._partial:
            self._add(self._partial)
            self._partial = b""
        self._put()

    def write(self, data: bytes) -> None:
        """Take output as it comes."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._add(line)
        while len(self._partial) > _LINE_LIMIT:
            self._add(self._partial[:_LINE_LIMIT])
            self._partial = self._partial[_LINE_LIMIT:]
        self.flush()

    def flush(self) -> None:
        """Put what is complete into the stream, unless that was done a moment ago."""
        if time.monotonic() - self._flushed_at >= _FLUSH_EVERY_S:
            self._put()

    def _add(self, line: bytes) -> None:
        # CloudWatch Logs takes no empty event, so an empty line is left out, as the awslogs driver does.
        text = line.rstrip(b"\r").decode("utf-8", "replace")
        now_ms = int(time.time() * 1000)
        for start in range(0, len(text), _LINE_LIMIT):
            self._events.append({"timestamp": now_ms, "message": text[start : start + _LINE_LIMIT]})

    def _put(self) -> None:
        from ministack.core.responses import request_scope
        from ministack.services import cloudwatch_logs

        self._flushed_at = time.monotonic()
        events, self._events = self._events, []
        if events:
            with request_scope(*self._scope):
                cloudwatch_logs._put_log_events(
                    {"logGroupName": self.group, "logStreamName": self.stream, "logEvents": events}
                )
