"""The runner's standard output: its own JSON lines, and the output of the container as it is written.

A line of the runner is one JSON object that begins with `{"scar": 1, `: then come `time`, `level`, `message`
(the stage or the event), the bound fields (`request_id`, `function`, …) and the line's own. Values of
environment variables, credentials and bodies of events are never logged. Control characters in a hostile key
cannot break a line, because JSON escapes them.

Output of the container is passed on line by line, with bounded memory, and the last lines are kept for the
message of a failure. Only the runner reads the pipe, and it changes the start of its own lines wherever it
occurs in the output (`unlike_ours`). However a line is split later (AWS Batch splits every 16 KB, CloudWatch
Logs every 256 KB, the embedded cloud at each carriage return), no part of it starts like a line of the
runner, or like one of Lambda's lines that mark the start and the end of a request. Readers rely on that start
only.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from containers.errors import ExplainedError, shown, shown_lines

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}

LINE_LIMIT = 64 * 1024
"""Bytes after which a line of the container is split; CloudWatch rejects log events over 256 KiB."""

LONGEST_OWN_LINE = 15 * 1024
"""Maximum bytes of a line of the runner: Batch would split longer ones into unreadable pieces
(https://docs.docker.com/engine/logging/drivers/awslogs/)."""
NEVER_CUT = ("request_id", "function", "subject", "message", "status", "outputs", "_aws")

KEPT_LINES = 40
KEPT_LINE_LENGTH = 500


class Log:
    """Writes JSON lines from a level upwards, with fields bound to it."""

    def __init__(self, level: str = "INFO", fields: Mapping[str, object] | None = None) -> None:
        self._level = level
        self._fields = dict(fields or {})

    @property
    def fields(self) -> Mapping[str, object]:
        """The fields that are bound to it."""
        return self._fields

    def bind(self, **fields: object) -> Log:
        """A log whose lines also have these fields."""
        return Log(self._level, {**self._fields, **fields})

    def debug(self, message: str, **fields: object) -> None:
        """For the developer of the runner."""
        self.write("DEBUG", message, fields)

    def info(self, message: str, **fields: object) -> None:
        """For users who follow a run."""
        self.write("INFO", message, fields)

    def warning(self, message: str, **fields: object) -> None:
        """Something that may not be what the user meant."""
        self.write("WARNING", message, fields)

    def failure(self, error: BaseException, **fields: object) -> None:
        """Something failed: the line `failed` with the error's kind and its whole text.

        An unexpected error includes its traceback, for the developer of the runner.
        """
        if not isinstance(error, ExplainedError) and isinstance(error, Exception):
            fields["traceback"] = shown_lines("".join(traceback.format_exception(error)))
        self.write("ERROR", "failed", {**reason(error), **fields})

    def write(self, level: str, message: str, fields: Mapping[str, object]) -> None:
        """One line, if the level is high enough."""
        if LEVELS[level] < LEVELS.get(self._level, LEVELS["INFO"]):
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"scar": 1, "time": now, "level": level, "message": message, **self._fields, **fields}
        _write(_own_line(line) + "\n")

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Time one stage and write its line, also when it fails (then at level ERROR, with the reason)."""
        stage = Stage(name)
        try:
            yield stage
        except Exception as error:
            stage.end()
            stage.failed = True
            self.write("ERROR", "stage", {"stage": name, **stage.fields(), **reason(error)})
            raise
        stage.end()
        self.info("stage", stage=name, **stage.fields())


def reason(error: BaseException) -> dict[str, object]:
    """`kind` and `error` of a line about a failure."""
    text = str(error) if isinstance(error, ExplainedError) else shown(str(error))
    return {"kind": getattr(error, "kind", type(error).__name__), "error": text}


@dataclass
class Stage:
    """The fields of the line of one stage, set while the stage runs."""

    name: str
    bytes: int = 0
    extra: dict[str, object] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    duration_ms: float = 0.0
    failed: bool = False

    def end(self) -> None:
        """Stop the clock."""
        self.duration_ms = round((time.monotonic() - self.started) * 1000, 1)

    def fields(self) -> dict[str, object]:
        """As they appear in the line."""
        return {"duration_ms": self.duration_ms, "bytes": self.bytes, **self.extra}


class ContainerOutput:
    """Passes on the container's output as it is written, and keeps the end of it.

    Memory is bounded: at most one unfinished line of `LINE_LIMIT` bytes, the last `KEPT_LINES` lines,
    each cut at `KEPT_LINE_LENGTH` characters.
    """

    def __init__(self) -> None:
        self._unfinished = bytearray()
        self._last: deque[str] = deque(maxlen=KEPT_LINES)
        self.bytes = 0

    def feed(self, data: bytes) -> None:
        """Add output; complete lines are passed on at once."""
        self.bytes += len(data)
        self._unfinished += data
        lines: list[str] = []
        start = 0
        while True:
            end = self._unfinished.find(b"\n", start, start + LINE_LIMIT)
            if end < 0 and len(self._unfinished) - start <= LINE_LIMIT:
                break
            after = end + 1
            if end < 0:
                end = after = _between_characters(self._unfinished, start + LINE_LIMIT)
            lines.append(self._unfinished[start:end].decode(errors="replace"))
            start = after
        del self._unfinished[:start]
        self._pass_on(lines)

    def close(self) -> None:
        """The container has ended: text after its last newline is a line, too."""
        if self._unfinished:
            self._pass_on([self._unfinished.decode(errors="replace")])
            self._unfinished.clear()

    @property
    def last_lines(self) -> str:
        """The last lines, joined by newlines."""
        return "\n".join(self._last)

    def _pass_on(self, lines: list[str]) -> None:
        if lines:
            lines = [unlike_ours(line) for line in lines]
            self._last.extend(_cut(line) for line in lines[-KEPT_LINES:])
            _write("\n".join(lines) + "\n")


_GAP = "[^ -~]*"  # characters that a log might drop: NUL, a byte order mark, part of a character
_LIKE_OURS = re.compile(_GAP.join(map(re.escape, '{"scar"')))
_LIKE_LAMBDAS = re.compile(rf"((?:START|END|REPORT){_GAP}) ({_GAP}RequestId)")


def unlike_ours(line: str) -> str:
    """The line of the container, changed so that no part of it looks like the start of a line of the runner
    or Lambda.

    Otherwise, a script could report any file as done to `scar-launch --wait`. Only a space is added: the line
    reads, and parses, as before.
    """
    line = _LIKE_OURS.sub(lambda found: "{ " + found[0][1:], line)
    return _LIKE_LAMBDAS.sub(r"\1  \2", line)


# Some readers treat these as line endings.
_BREAKING = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")


def _own_line(fields: dict[str, object]) -> str:
    """One JSON object of bounded length; its longest values are cut until it fits."""
    while True:
        text = json.dumps(fields, ensure_ascii=False, default=str)
        text = _BREAKING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
        if len(text.encode()) <= LONGEST_OWN_LINE:
            return text
        cuttable = {
            name: value if isinstance(value, str) else json.dumps(value, default=str)
            for name, value in fields.items()
            if name not in NEVER_CUT
        }
        longest = max(cuttable, key=lambda name: len(cuttable[name]), default="")
        if len(cuttable.get(longest, "")) < KEPT_LINE_LENGTH:
            return text
        value = cuttable[longest]
        fields = {**fields, longest: f"{value[: len(value) // 4]} […] {value[-len(value) // 4 :]}"}


def _cut(line: str) -> str:
    return line if len(line) <= KEPT_LINE_LENGTH else line[:KEPT_LINE_LENGTH] + " […]"


def _between_characters(data: bytearray, position: int) -> int:
    """The nearest place at or before `position` that does not split a UTF-8 character."""
    for back in range(4):
        if data[position - back] & 0xC0 != 0x80:  # noqa: PLR2004 (10xxxxxx: inside of a character)
            return position - back
    return position


_lock = threading.Lock()


def _write(text: str) -> None:
    # sys.stdout is looked up at each call: Lambda's runtime puts its own there, the embedded cloud too.
    with _lock:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError:  # a lone surrogate of a file's name, or a terminal that is not UTF-8
            sys.stdout.write(re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text))
        sys.stdout.flush()
