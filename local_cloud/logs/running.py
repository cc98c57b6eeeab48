"""Lines of invocations: in the log as soon as they are written, and in the store, so that a kill loses none.

As on AWS, `START` is in the log when an invocation starts, and `END` when it has ended. Until then, each line
is an item of the store; afterwards, all of them are one. Lines of an interrupted invocation are put into its
log stream at the next start, without `START`: its event will be processed again.

An execution environment of an image function has one log stream, which its variables name. Other invocations
have one each.
"""

from __future__ import annotations

import contextvars
import json
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.responses import request_scope
from ministack.services import cloudwatch_logs as logs
from ministack.services import lambda_svc

from local_cloud.lambda_functions.image_workers import ImageWorker, log_group, new_log_stream
from local_cloud.lambda_functions.zip_workers import END_OF_LOG
from local_cloud.logs.events import LogEvents
from local_cloud.patches import Original, replaces
from local_cloud.state.store import Store

_KIND = "running-log"


@dataclass
class _Invocation:
    """An invocation that is running, and its lines."""

    config: dict[str, Any]
    """Of the function."""
    request_id: str
    has_started: bool = False
    """`START` is in the log."""
    prefix: str = field(default_factory=lambda: f"{uuid.uuid4().hex}:")
    """Of the keys of its lines in the store."""
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """For each log stream."""


_ended: contextvars.ContextVar[_Invocation | None] = contextvars.ContextVar("invocation", default=None)
"""The invocation that this thread has waited for."""


class RunningLogs:
    """The lines in the log and in the store."""

    def __init__(self, store: Store, log_events: LogEvents) -> None:
        self._store = store
        self._log_events = log_events
        self._lock = threading.Lock()

    def install(self) -> None:
        """Replace the functions that start and end invocations, and that read the lines of a worker."""
        replaces(lambda_runtime.Worker, "_read_stderr")(self._read)
        replaces(lambda_runtime.Worker, "invoke")(self._invoke)
        replaces(ImageWorker, "invoke")(self._invoke)
        replaces(ImageWorker, "_await_init")(self._await_init)
        ImageWorker.keep_line = staticmethod(self._keep)
        lambda_svc._emit_lambda_logs = self._end

    def _invoke(self, invoke: Original, worker: Any, event: Any, request_id: str, **options: Any) -> Any:
        invocation = worker.invocation = _Invocation(worker.config, request_id)
        if not isinstance(worker, ImageWorker):
            worker.log_stream = new_log_stream(worker.config)
        if not isinstance(worker, ImageWorker) or worker.is_ready:
            self._start(invocation, worker.log_stream)
        try:
            result = invoke(worker, event, request_id, **options)
            problem = str(result.get("error") or "")
            if problem.startswith("Task timed out") and not isinstance(worker, ImageWorker):
                now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                self._keep(worker, f"{now} {request_id} {problem}")
            return result
        finally:
            _ended.set(invocation)

    def _await_init(self, await_init: Original, worker: ImageWorker, *arguments: Any) -> None:
        """Wait until an execution environment is ready. As on AWS, its lines come before `START`."""
        await_init(worker, *arguments)
        if worker.invocation is not None:
            self._start(worker.invocation, worker.log_stream)

    def _start(self, invocation: _Invocation, stream: str) -> None:
        if not invocation.has_started:
            version = invocation.config.get("Version", "$LATEST")
            self._show(invocation, stream, f"START RequestId: {invocation.request_id} Version: {version}")
            invocation.has_started = True

    def _end(
        self, function: Any, request_id: str, text: str | None, _failed: bool, duration_ms: int, **_more: Any
    ) -> None:
        """Add the last lines of an invocation, and keep all of them as one item of the store."""
        config = function.get("config") or function
        invocation = _ended.get()
        _ended.set(None)
        lines: list[str] = []
        if invocation is None:  # of a worker whose lines are not read here
            invocation = _Invocation(config, request_id)
            lines = (text or "").splitlines()
        stream = next(reversed(invocation.events), "") or new_log_stream(config)
        self._start(invocation, stream)
        summary = (
            f"REPORT RequestId: {request_id}\tDuration: {duration_ms} ms\tBilled Duration: {duration_ms} ms\t"
            f"Memory Size: {config.get('MemorySize', 128)} MB\t"
            f"Max Memory Used: {lambda_svc._probe_peak_memory_mb(function)} MB"
        )
        for line in (*lines, f"END RequestId: {request_id}", summary):
            self._show(invocation, stream, line)
        group = log_group(config)
        with self._store.transaction():
            for name, events in invocation.events.items():
                self._log_events.save(group, name, events)
            self._store.remove_below(_KIND, invocation.prefix)
        for name, events in invocation.events.items():
            logs._fanout_to_subscription_filters(group, name, events)

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
                output, mark, _rest = text.partition(END_OF_LOG)
                if output or not mark:
                    self._keep(worker, output)
                lines.put(text)

    def _keep(self, worker: Any, text: str) -> None:
        invocation: _Invocation | None = getattr(worker, "invocation", None)
        stream = getattr(worker, "log_stream", "")
        if invocation is None:  # the process was started before its first event
            invocation = worker.invocation = _Invocation(worker.config, "", has_started=True)
        if not stream:
            stream = worker.log_stream = new_log_stream(worker.config)
        line = {
            "function": worker.config["FunctionArn"],
            "group": log_group(worker.config),
            "stream": stream,
            "at_ms": int(time.time() * 1000),
            "text": text,
        }
        self._store.put(_KIND, invocation.prefix + self._store.new_key(), json.dumps(line))
        self._show(invocation, stream, text)

    def _show(self, invocation: _Invocation, stream: str, text: str) -> None:
        """Put a line into the log, in memory."""
        now_ms = int(time.time() * 1000)
        event = {"timestamp": now_ms, "ingestionTime": now_ms, "message": text}
        *_arn, region, account = invocation.config["FunctionArn"].split(":")[:5]
        with request_scope(account, region), self._lock:
            self._log_events.show(_stream(log_group(invocation.config), stream), [event])
            invocation.events.setdefault(stream, []).append(event)


def _stream(group: str, name: str) -> dict[str, Any]:
    """The record of a log stream, which is created if it is missing."""
    if group not in logs._log_groups:
        logs._create_log_group({"logGroupName": group})
    if name not in logs._log_groups[group]["streams"]:
        logs._create_log_stream({"logGroupName": group, "logStreamName": name})
    stream: dict[str, Any] = logs._log_groups[group]["streams"][name]
    return stream
