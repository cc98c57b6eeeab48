"""The memory limit of a container, watched from outside: cgroups belong to root on most machines.

As on AWS, memory that belongs to processes counts, and the page cache does not. All processes of a container
are looked at ten times a second, so a fast one may use more for a moment.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from containers.engines.helper.processes import kernels_list
from containers.engines.helper_process import is_helper

_EVERY_S = 0.1
_RESIDENT = re.compile(rb"^Rss(?:Anon|Shmem):\s+(\d+) kB", re.MULTILINE)
_PROPORTIONAL = re.compile(rb"^Pss_(?:Anon|Shmem):\s+(\d+) kB", re.MULTILINE)


class MemoryLimit:
    """Kills the container of this process when it uses more than `limit_mib`, while the block runs."""

    def __init__(self, limit_mib: int | None) -> None:
        self._limit_kib = None if limit_mib is None else limit_mib * 1024
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="memory")
        self.exceeded = False

    def __enter__(self) -> MemoryLimit:
        if self._limit_kib is not None:
            self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        if self._limit_kib is not None:
            self._thread.join()

    def _watch(self) -> None:
        assert self._limit_kib is not None  # noqa: S101 (the thread is started with one)
        while not self._ended.wait(_EVERY_S):
            processes = list(_container())
            # What processes share after a fork is counted once for each, so a second look decides.
            if _kib(processes, "status", _RESIDENT) <= self._limit_kib:
                continue
            if (_kib(processes, "smaps_rollup", _PROPORTIONAL) or self._limit_kib + 1) > self._limit_kib:
                self.exceeded = True
                for helper in _helpers():
                    with suppress(ProcessLookupError):
                        os.kill(helper, signal.SIGUSR1)
                return


def _helpers() -> list[int]:
    return [process for process in kernels_list(os.getpid()) if is_helper(process)]


def _container() -> Iterator[int]:
    """All processes of the container, without the helper and its PID 1, which are ours."""
    waiting = [
        program for helper in _helpers() for init in kernels_list(helper) for program in kernels_list(init)
    ]
    while waiting:
        process = waiting.pop()
        yield process
        waiting.extend(kernels_list(process))


def _kib(processes: list[int], file: str, pattern: re.Pattern[bytes]) -> int:
    total = 0
    for process in processes:
        with suppress(OSError):  # it has ended, or lets nobody look
            total += sum(map(int, pattern.findall(Path(f"/proc/{process}/{file}").read_bytes())))
    return total
