"""The rules about queues of inputs, and warnings for inputs that may need one.

Without a queue, S3 invokes the function for each file. AWS Lambda keeps an event for at most 6 hours if the
function has no free concurrency, and AWS Batch accepts 50 calls of SubmitJob a second in an account.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Final

from fdl_schemas.build import Draft, FunctionEntry
from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.graph import edges
from fdl_schemas.model import ExecutionMode, Function, QueueSettings, StorageEntry
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.findings import Findings

_LEAST_CONCURRENCY: Final = 2
"""The minimum of AWS's `MaximumConcurrency`."""
_EVENTS_WAIT_S: Final = 6 * 3600
"""The default and maximum of `MaximumEventAgeInSeconds`."""
_FEW_FILES: Final = 1000
"""A function that processes fewer files in 6 hours is reported: one upload of a folder may be larger."""
_SUBMITTED_PER_S: Final = 50
_CONCURRENCY_OF_AN_ACCOUNT: Final = 1000
"""The default quota of AWS Lambda."""


def check_queues(entry: FunctionEntry, findings: Findings) -> None:
    """Checks the queues of one function's inputs."""
    sources: dict[str | None, QueueSettings | None] = {}
    for index, read in enumerate(entry.function.inputs):
        path = entry.at("lambda", "input", index, "queue")
        if read.provider != "s3" or not findings.is_whole(path[:-1]):
            continue
        first = sources.setdefault(None if read.queue is None else read.queue.arn, read.queue)
        if first != read.queue:
            # Inputs may overlap: a file must not arrive both directly and through the queue.
            message = "the inputs of a function share one queue, but this one has other settings"
            advice = "repeat the settings of the first one"
            if read.queue is None or first is None:
                which = "this one has not" if read.queue is None else "the first one has not"
                message = f"one input of the function has a queue, but {which}"
                advice = "write the same `queue` in all inputs, or in none"
            findings.error(
                "FDL035",
                message,
                path if read.queue is not None else path[:-1],
                expected="the same `queue` for all inputs, unless `arn` is different",
                help=advice,
                on_key=read.queue is not None,
            )
        if read.queue is None:
            continue
        if read.topic_arn is not None and read.queue.arn is not None:
            findings.error(
                "FDL035",
                "`topic` and `queue.arn` are both set: the events of the input have two sources",
                (*path, "arn"),
                expected="one of the two",
                help="remove `topic` if the queue receives its messages; else remove `arn`",
                on_key=True,
            )
    if queues := [queue for queue in sources.values() if queue is not None]:
        _check_concurrency(entry, queues, findings)


def _check_concurrency(entry: FunctionEntry, queues: list[QueueSettings], findings: Findings) -> None:
    reserved = entry.function.reserved_concurrency
    most = sum(queue.max_concurrency for queue in queues)
    if (
        reserved is None
        or most <= reserved
        or not findings.is_whole(entry.at("lambda", "reserved_concurrency"))
    ):
        return
    least = _LEAST_CONCURRENCY * len(queues)
    if reserved < least:
        message = f"`reserved_concurrency: {reserved}` is too low for an input with a queue"
        expected = f"at least {least}; AWS polls a queue with at least {_LEAST_CONCURRENCY} invocations"
        advice = f"write `reserved_concurrency: {least}`, or remove the key"
    else:
        message = f"`max_concurrency` ({most}) exceeds `reserved_concurrency` ({reserved})"
        if len(queues) > 1:
            message = f"`max_concurrency` of {len(queues)} queues ({most} in total) exceeds "
            message += f"`reserved_concurrency` ({reserved})"
        expected = f"at most {reserved}; throttled events may end in the failure queue"
        advice = "raise `reserved_concurrency`, or lower `max_concurrency`"
    findings.error(
        "FDL035",
        message,
        entry.at("lambda", "reserved_concurrency"),
        expected=expected,
        help=advice,
    )


def check_shared_queues(draft: Draft, findings: Findings) -> None:
    """Checks that no two functions read one existing queue, and warns of queues of OSCAR services."""
    for path, service in draft.oscar_services.items():
        for index, read in enumerate(service.inputs):
            if read.queue is not None:
                findings.warning(
                    "FDL051",
                    "`queue` has no effect here",
                    (*path, "input", index, "queue"),
                    help="remove the key; OSCAR services are not deployed",
                    on_key=True,
                )
    readers: dict[str, int] = {}
    for number, entry in enumerate(draft.functions):
        for index, read in enumerate(entry.function.inputs):
            arn = None if read.queue is None else read.queue.arn
            path = entry.at("lambda", "input", index, "queue", "arn")
            if arn is None or not findings.is_whole(path):
                continue
            if (first := readers.setdefault(arn, number)) != number:
                name = draft.functions[first].function.name
                findings.error(
                    "FDL035",
                    f"function {quoted(name)} reads the same queue: each file reaches only one of the two",
                    path,
                    expected="a separate queue for each function",
                    help="send the events of the bucket to an SNS topic, with a queue for each function",
                )


def warn_of_direct_events(entry: FunctionEntry, findings: Findings) -> None:
    """Warns if events may wait too long for a function, or may submit too many jobs."""
    function = entry.function
    if not _direct(function) or not findings.is_whole(entry.at("lambda")):
        return
    if function.execution_mode is not ExecutionMode.BATCH:
        reserved = function.reserved_concurrency
        files = (reserved or 0) * _EVENTS_WAIT_S // function.timeout_s
        if reserved and files < _FEW_FILES:
            findings.warning(
                "FDL058",
                f"{reserved} concurrent runs of {function.timeout_s} s process {files} files in 6 hours",
                entry.at("lambda", "reserved_concurrency"),
                expected="a queue; without one, events that wait for 6 hours move to the failure queue",
                help="add `queue: {}` to the inputs",
            )
    elif (jobs := _runs_at_once(function)) >= _SUBMITTED_PER_S and findings.is_whole(entry.at("batch")):
        _warn_of_submissions(
            f"up to {jobs:,} jobs run at the same time, and each file submits a job",
            entry.at("lambda", "input"),
            findings,
        )


def warn_of_fan_out(draft: Draft, findings: Findings) -> None:
    """Warns of Batch functions without a queue that many parallel runs of another function trigger."""
    if findings.has_errors:
        return
    by_name = {entry.function.name: entry for entry in draft.functions}
    writers: dict[str, list[str]] = defaultdict(list)
    steps = [
        replace(
            entry.function,
            inputs=_direct(entry.function) if entry.function.execution_mode is ExecutionMode.BATCH else (),
        )
        for entry in draft.functions
    ]
    for writer, reader in edges(steps):
        writers[reader].append(writer)
    for reader, names in writers.items():
        if _runs_at_once(by_name[reader].function) >= _SUBMITTED_PER_S:
            continue  # reported by `warn_of_direct_events`
        writer = max(names, key=lambda name: _runs_at_once(by_name[name].function))
        runs = _runs_at_once(by_name[writer].function)
        if runs >= _SUBMITTED_PER_S:
            _warn_of_submissions(
                f"up to {runs:,} parallel runs of {quoted(writer)} write files, and each one submits a job",
                by_name[reader].at("lambda", "input"),
                findings,
            )


def _warn_of_submissions(message: str, path: PathInFile, findings: Findings) -> None:
    findings.warning(
        "FDL058",
        message,
        path,
        expected=f"a queue; AWS Batch accepts {_SUBMITTED_PER_S} submissions a second in an account",
        help="add `queue: {}` to the input: one call then submits many jobs",
        on_key=True,
    )


def _direct(function: Function) -> tuple[StorageEntry, ...]:
    """The inputs whose files invoke the function at once."""
    return tuple(entry for entry in function.inputs if entry.provider == "s3" and entry.queue is None)


def _runs_at_once(function: Function) -> int:
    if function.execution_mode is ExecutionMode.BATCH and function.batch is not None:
        return int(function.batch.compute_resources.max_v_cpus // function.batch.vcpus)
    if function.reserved_concurrency is not None:
        return function.reserved_concurrency
    queues = [entry.queue.max_concurrency for entry in function.inputs if entry.queue is not None]
    return max(queues) if queues and not _direct(function) else _CONCURRENCY_OF_AN_ACCOUNT
