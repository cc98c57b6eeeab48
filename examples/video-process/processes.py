"""Programs that the demo runs: it reads their output line by line, and leaves no process behind.

Each runs in its own session. Ctrl-C reaches only the demo, which then ends the program and everything that
the program started (cdk starts Node, which starts Python).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

_GRACE_S = 5.0
_LINES_SHOWN = 12


class ProgramError(Exception):
    """A program failed; the message has its last lines of output."""


def run_program(
    command: Sequence[str],
    *,
    folder: Path,
    log: Path,
    timeout_s: float,
    on_line: Callable[[str], None] = lambda _line: None,
) -> None:
    """Run a program until it ends; write its output to `log`, and pass it line by line to `on_line`.

    Raises:
        ProgramError: The exit code is not 0, or the program does not end in time.
    """
    name = " ".join([Path(command[0]).name, *command[1:2]])
    lines: list[str] = []
    late = threading.Event()
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):

        def end_late() -> None:
            late.set()
            _end(process)

        clock = threading.Timer(timeout_s, end_late)
        clock.start()
        try:
            for line in process.stdout or ():
                file.write(line)
                file.flush()
                lines.append(line.rstrip())
                on_line(line.rstrip())
            process.wait()
        finally:
            clock.cancel()
            _end(process)
    if late.is_set():
        raise ProgramError(f"{name} did not end within {timeout_s / 60:.0f} minutes. Its output is in {log}")
    if process.returncode:
        said = "\n  ".join([line for line in lines if line.strip()][-_LINES_SHOWN:])
        raise ProgramError(
            f"{name} failed with exit code {process.returncode}:\n  {said}\nThe full output is in {log}"
        )


def _end(process: subprocess.Popen[str]) -> None:
    """End a program that is still running, with its whole session."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        os.killpg(process.pid, signal.SIGKILL)  # whatever ignored SIGTERM, children included
    process.wait()
