"""The log of a running invocation, so that a kill loses no line, and its log stream.

Until an invocation has ended and its output is in its log, each line is an item of the store. Lines of an
interrupted invocation are put into its stream at the next start. As on AWS, an execution environment of an
image function has one log stream, whose name is in its variables; other invocations have a stream each.
"""

from __future__ import annotations

import contextvars
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.responses import request_scope
from ministack.services import cloudwatch_logs as logs
from ministack.services import lambda_svc

from local_cloud.lambda_functions.image_workers import ImageWorker, log_group, new_log_stream
from local_cloud.lambda_functions.zip_workers import END_OF_LOG
from local_cloud.patches import Original, replaces
from local_cloud.state.store import Store

_KIND = "running-log"


@dataclass(frozen=True)
class _Invocation:
    """Where its lines are: below `prefix` in the store while it runs, in `stream` afterwards."""

    prefix: str
    stream: str


_invocation: contextvars.ContextVar[_Invocation | None] = contextvars.ContextVar("invocation", default=None)
"""The one that this thread has waited for."""


class RunningLogs:
    """The lines in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def install(self) -> None:
        """Replace the functions that read a worker's lines and put them into the log."""
        replaces(lambda_runtime.Worker, "_read_stderr")(self._read)
        replaces(lambda_runtime.Worker, "invoke")(_invoke_noted)
        replaces(ImageWorker, "invoke")(_invoke_noted)
        ImageWorker.keep_line = staticmethod(self._keep)
        lambda_svc._emit_lambda_logs = self._log

    def _log(
        self, function: Any, request_id: str, text: str | None, _failed: bool, duration_ms: int, **_more: Any
    ) -> None:
        """Put an invocation's lines into its log stream, with those that Lambda itself writes."""
        config = function.get("config") or function
        invocation = _invocation.get()
        _invocation.set(None)
        group = log_group(config)
        stream = (invocation and invocation.stream) or new_log_stream(config)
        summary = (
            f"REPORT RequestId: {request_id}\tDuration: {duration_ms} ms\tBilled Duration: {duration_ms} ms\t"
            f"Memory Size: {config.get('MemorySize', 128)} MB\t"
            f"Max Memory Used: {lambda_svc._probe_peak_memory_mb(function)} MB"
        )
        start = f"START RequestId: {request_id} Version: {config.get('Version', '$LATEST')}"
        lines = [start, *(text or "").splitlines(), f"END RequestId: {request_id}", summary]
        now_ms = int(time.time() * 1000)
        with self._store.transaction():
            events = [{"timestamp": now_ms, "message": line} for line in lines]
            logs._append_log_events(
                _stream(group, stream), [{**event, "ingestionTime": now_ms} for event in events]
            )
            if invocation is not None:
                self._store.remove_below(_KIND, invocation.prefix)
        logs._fanout_to_subscription_filters(group, stream, events)

    def restore(self) -> None:
        """Put the lines of interrupted invocations into log streams, when the logs are loaded."""
        streams: dict[str, str] = {}
        with self._store.transaction():
            for key, value in self._store.items(_KIND):
                line = json.loads(value)
                worker = key.partition(":")[0]
                *_arn, region, account = line["function"].split(":")[:5]
                with request_scope(account, region):
                    name = streams.setdefault(worker, line["stream"])
                    event = {
                        "timestamp": line["at_ms"],
                        "ingestionTime": line["at_ms"],
                        "message": line["text"],
                    }
                    logs._append_log_events(_stream(line["group"], name), [event])
                self._store.remove(_KIND, key)

    def _read(self, _read: Original, worker: Any) -> None:
        lines = worker._stderr_queue
        with suppress(ValueError, OSError):  # the worker is being killed
            for line in worker._proc.stderr:
                text = line.rstrip("\n")
                if END_OF_LOG not in text:
                    self._keep(worker, text)
                lines.put(text)

    def _keep(self, worker: Any, text: str) -> None:
        line = {
            "function": worker.config["FunctionArn"],
            "group": log_group(worker.config),
            "stream": getattr(worker, "log_stream", "") or new_log_stream(worker.config),
            "at_ms": int(time.time() * 1000),
            "text": text,
        }
        self._store.put(_KIND, _prefix(worker) + self._store.new_key(), json.dumps(line))


def _invoke_noted(invoke: Original, worker: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return invoke(worker, *arguments, **options)
    finally:  # while the worker is still this invocation's own
        _invocation.set(_Invocation(_prefix(worker), getattr(worker, "log_stream", "")))


def _prefix(worker: Any) -> str:
    return f"{id(worker)}:"


def _stream(group: str, name: str) -> dict[str, Any]:
    """The record of a log stream, which is created if it is missing."""
    if group not in logs._log_groups:
        logs._create_log_group({"logGroupName": group})
    if name not in logs._log_groups[group]["streams"]:
        logs._create_log_stream({"logGroupName": group, "logStreamName": name})
    stream: dict[str, Any] = logs._log_groups[group]["streams"][name]
    return stream
