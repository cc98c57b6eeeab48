"""Execution environments of image functions: long-lived containers that ask Lambda's Runtime API for events.

Each is one of the emulator's workers, which provides the Runtime API and the pool; only the process is
another: the image's entry point in namespaces, with a read-only root, an unprivileged user and its own /tmp.
"""

from __future__ import annotations

import http.server
import json
import queue
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.responses import get_region

from local_cloud.containers.log import ContainerLog
from local_cloud.containers.processes import ContainerFailedError, RunningContainer
from local_cloud.containers.task import ContainerTask

_USER = "993:990"
"""Of Lambda's processes: `sbx_user1051` and its group."""
_INIT_S = 10.0
_LOG_WITHIN_S = 1.0
_SIGNALLED = 128
_MAXIMUM_RESPONSE_BYTES = (6 << 20) + 100
"""As in AWS's Runtime Interface Emulator (`MaxPayloadSize`)."""

Config = dict[str, Any]


class InitFailedError(Exception):
    """The runtime has reported an error while it started: `payload` is its message."""

    def __init__(self, payload: object) -> None:
        super().__init__(str(payload))
        self.payload = payload


class RuntimeEndedError(Exception):
    """The runtime's process has ended before it requested an event; the text contains how."""


class ImageWorker(lambda_runtime.ProvidedWorker):  # type: ignore[misc]
    """One execution environment. `find_image` returns the folder and digest of a function's image."""

    find_image: Callable[[Config], tuple[str, str]]
    endpoint: str
    keep_line: Callable[[ImageWorker, str], None]
    """Called with each line that the environment logs, at once (`logs/running.py`)."""
    invocation: Any = None
    """The latest one, for `logs/running.py`."""

    def __init__(self, name: str, config: Config, code_zip: bytes) -> None:
        super().__init__(name, config, code_zip)
        self.log_stream = ""
        """Of this execution environment: all of its invocations are logged there."""
        self.ending = ""
        """How the process has ended."""
        self._container: RunningContainer | None = None
        self._log = ContainerLog(None)
        self._waits_for_event = threading.Event()

    @property
    def is_ready(self) -> bool:
        """Whether the next event needs no new process."""
        return self._proc is not None and self._proc.poll() is None

    def take_log(self) -> str:
        """The output since the last call."""
        return self._log.take()

    # What the emulator's worker calls.

    def _spawn(self, init_timeout: float | None = None) -> None:
        self._teardown()
        self.log_stream = new_log_stream(self.config)
        pending: queue.Queue[Any] = queue.Queue(maxsize=1)
        with self._state_lock:
            self._generation += 1
            self._stopping = False
            self._first_poll.clear()
            self._init_settled.clear()
            self._init_error = None
            self._result: dict[str, Any] = {}
            self._response_ready.clear()
            self._current_request_id = None
            self._pending = pending
        try:
            handler = _guarded(self._build_handler_class(self._generation, pending))
            self._server = _QuietServer(("127.0.0.1", 0), handler)
            self._server_thread = threading.Thread(
                target=self._server.serve_forever,
                kwargs={"poll_interval": 0.1},
                daemon=True,
                name=f"runtime-api-{self.func_name}",
            )
            self._server_thread.start()
            self._container = RunningContainer(self._task(self._server.server_address[1]))
            self._proc = self._container.process
            self._log = ContainerLog(self._proc.stdout, lambda line: type(self).keep_line(self, line))
            self._container.wait_until_started()
            self._await_init(init_timeout)
        except BaseException:
            self._teardown()
            raise

    def _await_init(self, init_timeout: float | None = None) -> None:
        deadline = time.monotonic() + (_INIT_S if init_timeout is None else init_timeout)
        while not self._init_settled.wait(0.05):
            if self._proc.poll() is not None:
                assert self._container is not None  # noqa: S101 (its process is ours)
                raise self._container.failure() or RuntimeEndedError(_ending(self._proc.returncode))
            if time.monotonic() >= deadline:
                raise lambda_runtime.ProvidedInitTimeout("the runtime did not ask for an event in time")
        if self._init_error is not None:
            raise InitFailedError(self._init_error)

    def _mark_first_poll(self, generation: int) -> bool:
        marked = bool(super()._mark_first_poll(generation))
        if marked:
            self._waits_for_event.set()
        return marked

    def _record_result(self, *result: Any) -> bool:
        self._waits_for_event.clear()
        return bool(super()._record_result(*result))

    def _drain_stderr(self) -> str:
        return ""

    def _drain_stderr_bounded(self, *_waits: Any, **_more: Any) -> str:
        """Wait until all that the invocation wrote has been read.

        A runtime that requests the next event has written all output about the last one.
        """
        until = time.monotonic() + _LOG_WITHIN_S
        while time.monotonic() < until and not self._waits_for_event.wait(0.02):
            if self._proc is None or self._proc.poll() is not None:
                break
        self._log.wait_until_read(until)
        return ""

    def _teardown(self) -> None:
        process = self._proc
        if process is not None and process.poll() is not None:
            self.ending = _ending(process.returncode)
        super()._teardown()
        self._end_container()

    def _discard_tmpdir(self) -> None:
        super()._discard_tmpdir()
        self._end_container()

    def _end_container(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            self._log.finish()
            container.end()

    # What runs.

    def _task(self, port: int) -> ContainerTask:
        settings = (self.config.get("ImageConfigResponse") or {}).get("ImageConfig") or {}
        layout, digest = type(self).find_image(self.config)
        return ContainerTask(
            image=self.config["ImageUri"],
            layout=layout,
            digest=digest,
            env=environment(self.config, f"127.0.0.1:{port}", self.endpoint, self.log_stream),
            entrypoint=settings.get("EntryPoint") or None,
            command=settings.get("Command") or None,
            working_dir=settings.get("WorkingDirectory") or None,
            user=_USER,
            host_ports=[("127.0.0.1", port), ("127.0.0.1", int(self.endpoint.rpartition(":")[2]))],
            lambda_tmp_mib=int((self.config.get("EphemeralStorage") or {}).get("Size", 512)),
        )


def log_group(config: Config) -> str:
    """The log group of a function."""
    return (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{config['FunctionName']}"


def new_log_stream(config: Config) -> str:
    """The name of a new log stream of a function."""
    day = time.strftime("%Y/%m/%d", time.gmtime())
    return f"{day}/[{config.get('Version', '$LATEST')}]{uuid.uuid4().hex}"


def environment(config: Config, runtime_api: str, endpoint: str, log_stream: str) -> dict[str, str]:
    """The variables that Lambda sets, above those of the image (developer guide, "Defined runtime environment
    variables"), and AWS_ENDPOINT_URL."""
    region = get_region()
    credentials = lambda_runtime.execution_credentials(config)
    return {
        "TZ": ":UTC",
        **{
            variable: str(value)
            for variable, value in ((config.get("Environment") or {}).get("Variables") or {}).items()
        },
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "AWS_LAMBDA_FUNCTION_NAME": config["FunctionName"],
        "AWS_LAMBDA_FUNCTION_VERSION": config.get("Version", "$LATEST"),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.get("MemorySize", 128)),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": log_group(config),
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        **{variable: value for variable, value in credentials.items() if value},
        "AWS_ENDPOINT_URL": endpoint,
    }


def _ending(code: int) -> str:
    """In Lambda's words; our process ends with 128 + N if signal N ended the runtime."""
    if code > _SIGNALLED:
        return f"signal: {(signal.strsignal(code - _SIGNALLED) or str(code - _SIGNALLED)).lower()}"
    return f"exit status {code}"


class _QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A killed runtime closes its connection: this is not an error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _guarded(handler: Any) -> Any:
    class GuardedHandler(handler):  # type: ignore[misc]
        path: str
        wbufsize = -1
        """Headers and body leave together. With two segments, each event would be 40 ms late: the second one
        waits until the first one is acknowledged (Nagle's algorithm, delayed acknowledgments)."""

        def parse_request(self) -> bool:
            if not super().parse_request():
                return False
            # A page in a browser on this machine must not receive or answer events.
            if any(header in self.headers for header in ("Origin", "Sec-Fetch-Site")):
                self.send_error(403)
                return False
            return True

        def _read_body(self) -> bytes:
            body = bytes(super()._read_body())
            if self.path.endswith("/response") and len(body) > _MAXIMUM_RESPONSE_BYTES:
                self.path = f"{self.path.removesuffix('response')}error"
                return json.dumps(
                    {
                        "errorType": "Function.ResponseSizeTooLarge",
                        "errorMessage": f"Response payload size ({len(body)} bytes) exceeded maximum allowed "
                        f"payload size ({_MAXIMUM_RESPONSE_BYTES} bytes).",
                    }
                ).encode()
            return body

    return GuardedHandler


__all__ = ["ContainerFailedError", "ImageWorker", "InitFailedError", "RuntimeEndedError"]
