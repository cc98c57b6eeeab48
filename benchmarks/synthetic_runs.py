"""Logs of many runs of a workflow that never ran: `python -m benchmarks.synthetic_runs FOLDER GROUP INPUTS`.

The workflow has three functions, the second one in `lambda-batch` mode. Each input is resized, examined and
indexed. Some runs fail, and succeed or fail again in a second attempt; some are handed to Batch. The lines of
a group are in the order of the inputs, and the same in each call. They are written to a file in the folder,
page by page, as CloudWatch Logs would return them.
"""

from __future__ import annotations

import json
import marshal
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from scar_cli.aws.deployed import DeployedFunction

_START_MS = 1_790_000_000_000
_EVERY_MS = 11
"""Time between two inputs: a million runs in an hour."""
_PAGE = 1000
"""Lines of a response of CloudWatch, which has at most 1 MB."""
_MIB = 1024**2
_METRICS = json.dumps(
    {
        "Timestamp": _START_MS,
        "CloudWatchMetrics": [
            {
                "Namespace": "scar-cdk",
                "Dimensions": [["function"], ["function", "status"]],
                "Metrics": [
                    {"Name": name, "Unit": unit}
                    for unit, names in (
                        ("Milliseconds", "total_ms queued_ms stage_in_ms run_ms stage_out_ms cpu_ms"),
                        ("Bytes", "input_bytes output_bytes memory_bytes memory_limit_bytes"),
                    )
                    for name in names.split()
                ],
            }
        ],
    }
)
_STEPS = {
    "resize": ("in", "jpg", "small", "jpg"),
    "examine": ("small", "jpg", "found", "json"),
    "index": ("found", "json", "index", "txt"),
}
_FAILURES = (
    ("ContainerFailed", "The container exited with code 7. The end of its output:"),
    ("OutOfMemory", "The container ran out of memory"),
    ("InputMissing", "The input does not exist"),
)
_SLOTS = 1000
"""Execution environments of each function."""
_POOL = 4096
_SEEDED = random.Random(3)


def _pool(middle: float, spread: float) -> list[float]:
    return [round(_SEEDED.lognormvariate(middle, spread), 1) for _ in range(_POOL)]


_RUN, _READ, _WROTE, _QUEUED = _pool(6, 0.5), _pool(3, 0.4), _pool(3, 0.4), _pool(5, 1)
_SIZES, _MEMORY = [int(one) for one in _pool(12, 1)], [int(one) for one in _pool(5, 0.2)]
_OUTPUT = json.dumps("a line of output\n" * 20)


def functions() -> list[DeployedFunction]:
    """The functions of the workflow."""
    return [
        DeployedFunction(
            name,
            "synthetic",
            "eu-west-1",
            "lambda-batch" if name == "examine" else "lambda",
            f"/aws/lambda/{name}",
            f"https://queue/{name}",
            inputs=(f"bench/{source}",),
            outputs=(f"bench/{target}",),
            batch_log_group=f"/aws/batch/{name}" if name == "examine" else None,
        )
        for name, (source, _, target, _) in _STEPS.items()
    ]


def failed_files(inputs: int) -> int:
    """Number of inputs whose second attempt fails, too."""
    return sum(_fails_again(number) for number in range(inputs))


def lines(group: str, inputs: int) -> Iterator[tuple[int, str, str]]:
    """Time, stream and text of each line of a log group."""
    mode, name = group.split("/")[2:]
    step = list(_STEPS).index(name)
    for number in range(inputs):
        start = _START_MS + number * _EVERY_MS + step * 9000
        if step == 0 and _fails(number):
            yield from _run(name, number, start, "failed")
            yield from _run(name, number, start + 60_000, "failed" if _fails_again(number) else "done")
        elif step > 0 and _fails_again(number):
            continue
        elif step == 1 and number % 25 == 3:
            if mode == "lambda":
                yield from _run(name, number, start, "delegated")
            else:
                yield from _run(name, number, start + 60_000, "done", in_batch=True)
        elif mode == "lambda":
            yield from _run(name, number, start, "done")


def _fails(number: int) -> bool:
    return number % 50 == 7


def _fails_again(number: int) -> bool:
    return number % 200 == 7


def _scrambled(number: int, what: int) -> int:
    """64 bits that look random."""
    mixed = (number * 8 + what + 1) * 0x9E3779B97F4A7C15
    mixed = ((mixed ^ (mixed >> 31)) & 0xFFFFFFFFFFFFFFFF) * 0xBF58476D1CE4E5B9
    return (mixed ^ (mixed >> 29)) & 0xFFFFFFFFFFFFFFFF


def _run(
    name: str, number: int, start: int, status: str, *, in_batch: bool = False
) -> Iterator[tuple[int, str, str]]:
    source, before, target, after = _STEPS[name]
    step = list(_STEPS).index(name)
    dice = _scrambled(number * 4 + step, start & 3)
    ran, read = _RUN[dice % _POOL], _READ[(dice >> 12) % _POOL]
    wrote, queued = _WROTE[(dice >> 24) % _POOL], _QUEUED[(dice >> 36) % _POOL]
    memory, size = _MEMORY[(dice >> 8) % _POOL], _SIZES[(dice >> 20) % _POOL]
    total = round(ran + read + wrote + 4, 1)
    trace, end = _scrambled(number, 5), start + int(total)
    span = _scrambled(number, 3 if in_batch else step)
    request = f"{_scrambled(number, 6):016x}{dice:016x}"
    stream = f"{name}/default/{request}" if in_batch else f"2026/09/21/[$LATEST]{number % _SLOTS:032x}"
    moment = datetime.fromtimestamp(end / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    stem = f"photo-{number:07}"
    head = f'{{"scar": 1, "time": "{moment}.{end % 1000:03}Z", "level": "INFO", "message": '
    subject = f"s3://bench/{source}/{stem}.{before}"
    bound = f'"request_id": "{request}", "function": "{name}", "subject": "{subject}"'
    staged_in = f'{head}"stage", {bound}, "stage": "stage-in", "duration_ms": {read}, "bytes": {size}}}'
    yield start, stream, staged_in
    cold = dice % 100 == 0
    more = f', "parent": "{_scrambled(number, step - 1):016x}"' if step else ""
    if cold:
        more += ', "init_ms": 412.5'
    if status == "done":
        more += (
            f', "output_bytes": {size // 3}, "output_files": 1, '
            f'"outputs": ["s3://bench/{target}/{stem}.{after}"]'
        )
    elif status == "failed":
        kind, error = _FAILURES[number % len(_FAILURES)]
        more += f', "kind": "{kind}", "error": "{error}", "last_lines": {_OUTPUT}'
    else:
        more += f', "job_id": "{request}", "reason": "TimedOut"'
    yield (
        end,
        stream,
        f'{head}"summary", {bound}, "status": "{status}", "cold": {"true" if cold else "false"}, '
        f'"mode": "{"batch" if in_batch else "lambda"}", "input_bytes": {size}, "engine": "direct", '
        f'"queued_ms": {queued}, "stage_in_ms": {read}, "run_ms": {ran}, "stage_out_ms": {wrote}, '
        f'"memory_bytes": {memory * _MIB}, "memory_limit_bytes": {1024 * _MIB}, "cpu_ms": {ran * 0.9:.1f}, '
        f'"attempt": 1, "trace": "{trace:016x}{trace:016x}", "span": "{span:016x}"{more}, '
        f'"total_ms": {total}, "_aws": {_METRICS}}}',
    )
    if not in_batch:
        yield (
            end + 1,
            stream,
            f"REPORT RequestId: {request}\tDuration: {total} ms\tBilled Duration: {int(total) + 1} ms\t"
            f"Memory Size: 1024 MB\tMax Memory Used: {memory + 70} MB\t",
        )


def write(folder: Path, group: str, inputs: int) -> None:
    """Write the lines of a group."""
    found = lines(group, inputs)
    with _file(folder, group).open("wb") as file:
        while page := list(islice(found, _PAGE)):
            events = [
                {"timestamp": at, "logStreamName": stream, "message": text} for at, stream, text in page
            ]
            packed = marshal.dumps(events)
            file.write(len(packed).to_bytes(8, "big") + packed)


def pages(folder: Path, group: str) -> Iterator[list[dict[str, Any]]]:
    """The events of a group."""
    with _file(folder, group).open("rb") as file:
        while size := file.read(8):
            yield marshal.loads(file.read(int.from_bytes(size, "big")))


def _file(folder: Path, group: str) -> Path:
    return folder / group.strip("/").replace("/", "-")


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
