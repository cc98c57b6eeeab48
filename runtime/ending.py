"""How a run ends: in time or timed out, successful or failed.

A container that did not end with exit code 0 has failed, regardless of its output folder. The error contains
how it ended, the likely cause, and its last output.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from containers.errors import ErrorKind
from runtime.errors import ContainerError
from runtime.memory import ran_out_of_memory
from runtime.workspace import is_full

if TYPE_CHECKING:
    from containers.engines import ContainerResult


READ_ONLY = "Read-only file system"
"""The text of the C library, and therefore of nearly every program, for EROFS."""


class _Alarm(BaseException):
    """Not an `Exception`, so that no code on the way retries it as a network error."""


@contextmanager
def interrupted_at(deadline: float) -> Iterator[None]:
    """Raise `TimedOut` at `deadline`, whatever is blocking: a hanging download must not use up Lambda's last
    second.

    Uses SIGALRM, and therefore works in the main thread only, where Lambda and Batch run this code.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, max(deadline - time.monotonic(), 0.001))
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Alarm:
        raise time_is_up("before the container was started") from None
    finally:
        signal.signal(signal.SIGALRM, before)


def time_is_up(when: str, output: str = "") -> ContainerError:
    """The error of a run that took too long."""
    return ContainerError(
        f"The run timed out (`timeout` minus `container.timeout_threshold`) {when}",
        advice="Raise `timeout`, give the function more memory (which also adds CPU), or use "
        "`execution_mode: lambda-batch` or `batch`.",
        kind=ErrorKind.TIMED_OUT,
        output=output,
    )


def require_success(ended: ContainerResult, last_lines: str, store: Path, kills_before: int | None) -> None:
    """Raise `ContainerError` (`TimedOut`, `OutOfMemory`, `ScriptFailed`) unless the container exited with
    code 0.

    `kills_before` is the result of `kills_for_memory` before the container was started.
    """
    if ended.timed_out:
        raise time_is_up("and the container was killed", last_lines)
    if ended.signal is None and ended.exit_code == 0:
        return
    kind, advice = ErrorKind.SCRIPT_FAILED, "Its output is in the log."
    if READ_ONLY in last_lines:
        advice = (
            "The root file system is read-only on AWS Lambda: write to $HOME, $TMPDIR or /tmp, use "
            "`execution_mode: batch`, or set `runtime: python3.13`."
        )
    if is_full(store):
        advice = "The disk is full: raise the function's `ephemeral_storage`, or use `execution_mode: batch`."
    elif ran_out_of_memory(ended, kills_before):
        kind = ErrorKind.OUT_OF_MEMORY
        advice = "It ran out of memory: raise `memory` (for jobs `batch.memory`), or set `batch.retry`."
    if ended.cut_off:
        advice += f" Network: {ended.network}."
    how = f"exited with code {ended.exit_code}"
    if ended.signal is not None:
        how = f"was killed by signal {ended.signal} ({_signal_name(ended.signal)})"
    raise ContainerError(
        f"The container {how}",
        advice=advice,
        kind=kind,
        exit_code=ended.exit_code,
        signal=ended.signal,
        output=last_lines,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
