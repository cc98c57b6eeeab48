"""What running invocations have logged so far, so that a kill loses no line of theirs.

ministack puts an invocation's output into its log when the invocation has ended. Here each line is an item of
the store from the moment that it is read until it is in the log. What the last run of the cloud has left of
an interrupted invocation becomes a log stream of its own.
"""

from __future__ import annotations

import contextvars
import json
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.responses import request_scope
from ministack.services import cloudwatch_logs as logs
from ministack.services import lambda_svc

from local_cloud.image_workers import ImageWorker
from local_cloud.lambda_workers import END_OF_LOG
from local_cloud.store import Store

_KIND = "running-log"
_worker: contextvars.ContextVar[str] = contextvars.ContextVar("worker", default="")
"""Of the invocation that this thread waits for."""


class RunningLogs:
    """The lines in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def install(self) -> None:
        """Put ourselves where a worker's lines are read, and where they are put into the log."""

        def read_stderr(
            worker: Any,
        ) -> None:  # a method of the worker, where a bound one of ours would be none
            self._read(worker)

        lambda_runtime.Worker._read_stderr = read_stderr
        lambda_runtime.Worker.invoke = _noting_its_worker(lambda_runtime.Worker.invoke)
        ImageWorker.invoke = _noting_its_worker(ImageWorker.invoke)
        ImageWorker.keep_line = staticmethod(self._keep)
        emit = lambda_svc._emit_lambda_logs

        def emit_and_forget(*arguments: Any, **options: Any) -> None:
            with self._store.transaction():
                emit(*arguments, **options)
                if worker := _worker.get():
                    self._store.remove_below(_KIND, worker)

        lambda_svc._emit_lambda_logs = emit_and_forget

    def restore(self) -> None:
        """Put the lines of interrupted invocations into log streams, when the logs are loaded."""
        streams: dict[str, dict[str, Any]] = {}
        with self._store.transaction():
            for key, value in self._store.items(_KIND):
                line = json.loads(value)
                worker = key.partition(":")[0]
                *_arn, region, account = line["function"].split(":")[:5]
                with request_scope(account, region):
                    if worker not in streams:
                        streams[worker] = _new_stream(line["group"], line["at_ms"])
                    event = {
                        "timestamp": line["at_ms"],
                        "ingestionTime": line["at_ms"],
                        "message": line["text"],
                    }
                    logs._append_log_events(streams[worker], [event])
                self._store.remove(_KIND, key)

    def _read(self, worker: Any) -> None:
        lines = worker._stderr_queue
        with suppress(ValueError, OSError):  # the worker is being killed
            for line in worker._proc.stderr:
                text = line.rstrip("\n")
                if END_OF_LOG not in text:
                    self._keep(worker, text)
                lines.put(text)

    def _keep(self, worker: Any, text: str) -> None:
        group = (worker.config.get("LoggingConfig") or {}).get("LogGroup")
        line = {
            "function": worker.config["FunctionArn"],
            "group": group or f"/aws/lambda/{worker.config['FunctionName']}",
            "at_ms": int(time.time() * 1000),
            "text": text,
        }
        self._store.put(_KIND, _prefix(worker) + self._store.new_key(), json.dumps(line))


def _noting_its_worker(invoke: Callable[..., Any]) -> Callable[..., Any]:
    def invoke_noted(worker: Any, *arguments: Any, **options: Any) -> Any:
        _worker.set(_prefix(worker))
        return invoke(worker, *arguments, **options)

    return invoke_noted


def _prefix(worker: Any) -> str:
    return f"{id(worker)}:"


def _new_stream(group: str, at_ms: int) -> dict[str, Any]:
    if group not in logs._log_groups:
        logs._create_log_group({"logGroupName": group})
    day = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y/%m/%d")
    name = f"{day}/[$LATEST]{uuid.uuid4().hex}"
    logs._create_log_stream({"logGroupName": group, "logStreamName": name})
    stream: dict[str, Any] = logs._log_groups[group]["streams"][name]
    return stream
