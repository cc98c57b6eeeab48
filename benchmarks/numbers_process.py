"""Runs with and without their numbers, in a process of its own.

    python -m benchmarks.numbers_process FUNCTION_FOLDER COLLECTOR

Prints medians of differences as JSON.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from typing import Any
from unittest import mock

from benchmarks.measure import milliseconds
from containers.engines.direct import DirectEngine
from runtime import handler, summary
from runtime.trace import Trace

_PAIRS = 40 * int(os.environ.get("SCAR_BENCH_TIMES", "5"))
_LONG_PAIRS = int(os.environ.get("SCAR_BENCH_TIMES", "5"))
_SHORT = ("/bin/sh", "-c", ":")
_LONG = ("/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait")
_NONE: dict[str, Any] = {}


class Context:
    """The context object of Lambda."""

    aws_request_id = "bench"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        """Plenty."""
        return 300_000


def main() -> None:
    """Measure."""
    folder, collector = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="scar-bench-") as store:
        os.environ |= {
            "SCAR_FUNCTION_DIR": folder,
            "SCAR_STORE": store,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        }
        short: Callable[[], float] = lambda: milliseconds(lambda: invoke(_SHORT))  # noqa: E731
        with mock.patch.dict(os.environ, {"OTEL_EXPORTER_OTLP_ENDPOINT": collector}):
            invoke(_SHORT)
        found = {
            "overhead_ms": difference(_PAIRS, nullcontext, without_numbers, short),
            "overhead_cpu_ms": difference(_PAIRS, nullcontext, without_numbers, lambda: cpu_ms(_SHORT)),
            "sampling_cpu_ms": difference(_LONG_PAIRS, nullcontext, without_numbers, lambda: cpu_ms(_LONG)),
            "export_ms": difference(_PAIRS, lambda: exported(collector), nullcontext, short),
        }
    print(json.dumps(found))


def difference(
    pairs: int, ours: Callable[[], Any], other: Callable[[], Any], measure: Callable[[], float]
) -> float:
    """Median of the differences of pairs; which one comes first alternates."""
    found = []
    for number in range(pairs):
        values = {}
        for is_ours in (True, False) if number % 2 else (False, True):
            with ours() if is_ours else other():
                values[is_ours] = measure()
        found.append(values[True] - values[False])
    return statistics.median(found)


def invoke(command: tuple[str, ...]) -> None:
    """A whole invocation without files."""
    with redirect_stdout(io.StringIO()):
        answer = handler.handle({"cmd_args": list(command)}, Context())
    if answer["results"][0]["status"] != "done":
        raise SystemExit(f"the invocation ended with {answer}")


def cpu_ms(command: tuple[str, ...]) -> float:
    """CPU time of this process, without the script's."""
    before = time.process_time()
    invoke(command)
    return (time.process_time() - before) * 1000


@contextmanager
def exported(collector: str) -> Iterator[None]:
    """Runs are exported."""
    with mock.patch.dict(os.environ, {"OTEL_EXPORTER_OTLP_ENDPOINT": collector}):
        yield


@contextmanager
def without_numbers() -> Iterator[None]:
    """Runs neither measure nor determine anything that is only in the summary line."""
    run, no_trace = DirectEngine.run, Trace("0" * 32, span="0" * 16)
    with (
        mock.patch.object(
            DirectEngine, "run", lambda self, process: run(self, replace(process, measured=False))
        ),
        mock.patch.multiple(summary, where=lambda _: _NONE, queued_ms=lambda _: None),
        mock.patch.object(Trace, "of_request", lambda *_: no_trace),
        mock.patch.dict(os.environ, {summary.METRICS_VARIABLE: "false"}),
    ):
        yield


if __name__ == "__main__":
    main()
