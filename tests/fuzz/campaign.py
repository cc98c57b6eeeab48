"""One target for some time: cases are drawn, run and judged; findings are told apart and written down."""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from tests.fuzz.target import Check, Target, decode, encode

BATCH = 250
HANG_S = 60.0
"""Wall-clock time of a case, which may wait for servers."""
WORK_S = 10.0
"""Processor time of a case, all its threads together."""
MEMORY_BYTES = 300 << 20
"""Memory that a case may need on top of what the process had."""
SHRINK_S = 15.0
ROOT = Path(__file__).resolve().parents[2]


class TooMuchWork(BaseException):
    """The case took more processor time than its size explains. No `Exception`: nothing may swallow it."""


class _TimeIsUp(BaseException):
    """Ends Hypothesis' loop."""


@dataclass
class Finding:
    """A case that breaks a promise."""

    target: str
    what: str
    case: str
    """As `target.encode` writes it."""
    told: str = ""
    """The traceback."""

    def save(self, folder: Path) -> Path:
        """Write the case down; the file can be replayed."""
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(self.what.encode()).hexdigest()[:10]
        file = folder / f"{self.target}-{name}.json"
        file.write_text(encode({"target": self.target, "what": self.what, "case": decode(self.case)}))
        file.with_suffix(".txt").write_text(self.told, errors="backslashreplace")
        return file


@dataclass
class Campaign:
    """Runs a target until its time or its number of cases is used up."""

    target: Target
    seed: int
    current: Path | None = None
    """Where the case that is being run is noted, for whoever finds the process dead."""
    cases: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)
    """By what was broken and where."""

    def run(self, *, seconds: float, cases: int = sys.maxsize) -> None:
        """Draw and run cases."""
        until = time.monotonic() + seconds
        with opened(self.target) as check:
            batch = 0
            while time.monotonic() < until and self.cases < cases:
                self._batch(check, batch, until, cases)
                batch += 1

    def _batch(self, check: Check, batch: int, until: float, most: int) -> None:
        shrink_until: list[float] = []

        @seed(self.seed * 1_000_003 + batch)
        @settings(
            max_examples=min(BATCH, most - self.cases),
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            verbosity=Verbosity.quiet,
        )
        @given(self.target.cases)
        def one(case: Any) -> None:
            now = time.monotonic()
            if now > (shrink_until[0] if shrink_until else until):
                raise _TimeIsUp
            self.cases += 1
            finding = judged(self.target, check, encode(case), self.current)
            if finding is None:
                return
            known = self.findings.get(finding.what)
            if known is None:
                shrink_until.append(now + SHRINK_S)
            elif not shrink_until:
                return  # found in an earlier batch: look for others
            if known is None or len(finding.case) <= len(known.case):
                self.findings[finding.what] = finding
            raise AssertionError(finding.what)

        with contextlib.suppress(_TimeIsUp, Exception):
            one()


@contextlib.contextmanager
def opened(target: Target) -> Iterator[Check]:
    """The target's check, in a folder that is removed at the end: in memory, where there is such a place."""
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(
            prefix="scar-fuzz-", dir=memory if os.access(memory, os.W_OK) else None
        ) as folder,
        target.opened(Path(folder).resolve()) as check,
    ):
        try:
            yield check
        finally:
            _watchdog.stop()


def judged(target: Target, check: Check, text: str, current: Path | None = None) -> Finding | None:
    """Run one case, and say what it broke."""
    if current is not None:
        current.write_text(text)
    try:
        with _bounded():
            check(decode(text))
    except (Exception, TooMuchWork) as error:
        return Finding(target.name, _key(error), text, "".join(traceback.format_exception(error)))
    return None


def _key(error: BaseException) -> str:
    """Kind and place of an error: the same mistake found twice has the same key."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(str(ROOT)) and "/.venv/" not in frame.filename
    ]
    place = ""
    if frames and not isinstance(error, TooMuchWork):
        place = f" in {Path(frames[-1].filename).relative_to(ROOT)}:{frames[-1].lineno}"
    said = re.split(r"[:\d'\"]", str(error))[0].strip() if isinstance(error, AssertionError) else ""
    return f"{type(error).__name__}{place}" + (f": {said}" if said else "")


class _Watchdog:
    """Ends the process, telling where its threads are, when a case takes `HANG_S`; C code included."""

    def __init__(self) -> None:
        self._fed_at = 0.0

    def feed(self) -> None:
        """A case begins. Starting the alarm anew takes a millisecond: not for every case."""
        if time.monotonic() - self._fed_at > HANG_S / 4:
            self._fed_at = time.monotonic()
            faulthandler.dump_traceback_later(HANG_S, exit=True, file=2)

    def stop(self) -> None:
        """No case is run any more."""
        self._fed_at = 0.0
        faulthandler.cancel_dump_traceback_later()


_watchdog = _Watchdog()


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Bound the processor time, the waiting and the memory of one case."""

    def too_much(*_: object) -> None:
        raise TooMuchWork(f"more than {WORK_S:g} s of processor time")

    before = signal.signal(signal.SIGPROF, too_much)
    _watchdog.feed()
    peak = _peak_bytes(reset=True)
    signal.setitimer(signal.ITIMER_PROF, WORK_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    grown = _peak_bytes() - peak
    if grown > MEMORY_BYTES:
        raise AssertionError(f"the case took {grown >> 20} MiB of memory")


def _peak_bytes(*, reset: bool = False) -> int:
    """The most memory that the process has had; Linux can forget it and start anew."""
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    with contextlib.suppress(OSError), Path("/proc/self/status").open() as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
