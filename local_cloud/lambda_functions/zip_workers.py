"""Lambda's worker processes: they end together with all their child processes, and their logs are read
completely.

ministack writes a script for each worker, and ends it with a signal to that one process. The code of
`leash.py` at the start of the script makes each worker a keeper with the real worker as its child: the keeper
ends everything at SIGTERM, or when its standard input closes.

ministack reads an invocation's log for a few milliseconds after the answer, and would miss the last lines on
a busy machine. Each worker therefore writes a mark after its log, and is read up to that mark.

ministack unpacks the layers of each worker into a folder of its own, where Python compiles all libraries
again: two seconds of processor time at each cold start. Here, workers whose layers have the same content
share one folder, with the bytecode that the first of them has stored there.
"""

from __future__ import annotations

import hashlib
import queue
import shutil
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ministack.core import lambda_runtime

from local_cloud import leash
from local_cloud.patches import Original, replaces

_START = """
fork_keeper()
sys.stdin, sys.stdout = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(2, 1)
"""

END_OF_LOG = "\x1eend of the invocation's log"
"""The mark: not a line of the log."""
_ANSWERED = """
        _real_stdout.flush()

run()
"""
_MARKED = f"""
        sys.stderr.flush()
        os.write(2, {END_OF_LOG.encode() + bytes([10])!r})
{_ANSWERED}"""
_LOG_WITHIN_S = 30.0
"""Maximum wait for the mark: a worker that closes or floods standard error must not block the cloud."""


class _ZipFile(zipfile.ZipFile):
    """A zip that ministack unpacks. A layer becomes a link to a folder that all workers share."""

    _unpacking = threading.Lock()

    def extractall(self, path: Any = None, members: Any = None, pwd: bytes | None = None) -> None:
        """Unpack the code of a function into `path`; replace `path`, if it is a layer's, by a link."""
        if path is None or not Path(path).name.startswith("layer_"):
            super().extractall(path, members, pwd)
            return
        with Path(str(self.filename)).open("rb") as archive:
            digest = hashlib.file_digest(archive, "sha256").hexdigest()
        shared = Path(tempfile.gettempdir(), "layers", digest)
        with self._unpacking:
            if not shared.exists():
                unfinished = shared.with_suffix(".unfinished")
                shutil.rmtree(unfinished, ignore_errors=True)
                super().extractall(unfinished, members, pwd)
                unfinished.rename(shared)
        Path(path).rmdir()
        Path(path).symlink_to(shared)


def prepare_workers() -> None:
    """Have ministack write leash and mark into each Python worker's script, read up to the mark, and share
    layers."""
    lambda_runtime.zipfile = SimpleNamespace(**{**vars(zipfile), "ZipFile": _ZipFile})
    keeper = Path(leash.__file__).read_text()

    @replaces(lambda_runtime, "_detect_runtime_binary")
    def with_leash(detect: Original, runtime: str) -> tuple[str, str]:
        binary, script = detect(runtime)
        if runtime.startswith("python"):
            if script.count(_ANSWERED) != 1:
                raise RuntimeError("ministack's worker has an unexpected form")
            script = f"{keeper}\n{_START}\n{script.replace(_ANSWERED, _MARKED)}"
        return binary, script

    @replaces(lambda_runtime.Worker, "_drain_stderr_bounded")
    def read_log(drain: Original, worker: Any, *arguments: Any, **options: Any) -> str:
        if str(worker.config.get("Runtime", "")).startswith("python"):
            return _log_up_to_mark(worker)
        return str(drain(worker, *arguments, **options))


def _log_up_to_mark(worker: Any) -> str:
    lines: list[str] = []
    until = time.monotonic() + _LOG_WITHIN_S
    while time.monotonic() < until:
        alive = worker._stderr_thread.is_alive()
        try:
            line = worker._stderr_queue.get(timeout=0.02)
        except queue.Empty:
            if not alive:  # the worker has ended, and all that it wrote has been read
                break
            continue
        text, mark, _ = line.partition(END_OF_LOG)
        if text or not mark:
            lines.append(text)
        if mark:
            break
    return "\n".join(lines)
