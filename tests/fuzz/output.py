"""A container's output through the runner's log relay: passed on, bounded, never taken for the runner's."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from runtime.logs import KEPT_LINE_LENGTH, KEPT_LINES, ContainerOutput, Log
from scar_cli.aws.logs import parsed
from tests.fuzz.mutation import EDITS, edited, json_bytes, mutated
from tests.fuzz.target import Check, Target


def _own_line() -> bytes:
    """What the runner writes at the end of a run."""
    with contextlib.redirect_stdout(io.StringIO()) as written:
        log = Log("INFO", {"request_id": "r", "function": "f", "subject": "s3://b/in/a.txt"})
        log.info("summary", status="done")
    return written.getvalue().rstrip("\n").encode()


_OWN_LINE = _own_line()
_OWN = json.loads(_OWN_LINE)
_GAPS = st.sampled_from(
    [b"\0", b"\xef\xbb\xbf", b"\xe2\x80\x8b", b"\r", b"\x1b[0m", b" ", b"\t", b"\xc3", b"\x85", b"\x7f"]
)
_PIECES = st.one_of(
    st.tuples(
        mutated([_OWN, {**_OWN, "message": "skipped"}]).map(json_bytes), st.one_of(st.just([]), EDITS)
    ).map(lambda pair: edited(*pair)),
    st.just(_OWN_LINE),
    st.tuples(st.integers(0, 12), _GAPS).map(
        lambda pair: _OWN_LINE[: pair[0]] + pair[1] + _OWN_LINE[pair[0] :]
    ),
    st.integers(1, 30).map(lambda at: _OWN_LINE[:at]),
    st.integers(1, 30).map(lambda at: _OWN_LINE[at:]),
    _GAPS,
    st.binary(max_size=30),
    st.sampled_from(
        [
            b"\n",
            b"\n",
            b"\r",
            b"\r\n",
            b"\x1b[2K",
            b"\xe2\x80\xa8",
            b"\x85",
            b"\0",
            b"\xc3",
            b" ",
            b"\x0b",
            b"\x1e",
            b"x" * 70_000,
        ]
    ),
)
_UNPRINTABLE = re.compile("[^ -~]")
CASES = st.lists(_PIECES, max_size=8)


@contextmanager
def _output(_folder: Path) -> Iterator[Check]:
    def check(chunks: Any) -> None:
        output = ContainerOutput()
        with contextlib.redirect_stdout(io.StringIO(newline="")) as written:
            for chunk in chunks:
                output.feed(chunk)
            output.close()
        lines = written.getvalue().split("\n")
        assert output.bytes == sum(map(len, chunks))
        kept = output.last_lines.split("\n")
        assert len(kept) <= KEPT_LINES + sum(chunk.count(b"\r") for chunk in chunks)
        assert all(len(line) <= KEPT_LINE_LENGTH + 10 for line in kept)
        for line in lines:
            assert len(line) <= 64 * 1024 + 200, "a line that CloudWatch splits"
            # Whoever stores or shows logs may break lines elsewhere too, and leave out some characters.
            for part in (line, *line.splitlines(), _UNPRINTABLE.sub("", line)):
                assert parsed(part) is None, "a line of the container that counts as the runner's"

    yield check


TARGET = Target("output", CASES, _output)
