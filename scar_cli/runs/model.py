"""One run of a function."""

from __future__ import annotations

from typing import NamedTuple

STAGES = ("queued", "init", "stage-in", "image", "run", "stage-out", "other")
"""The stages of a run, in the order in which charts show them. `other` is the rest of the total time, such as
claiming the input and removing the folder of the run."""

STATUSES = ("done", "failed", "skipped", "duplicate", "delegated", "submitted", "node done")
"""`skipped`: an empty object, or one that no filter accepts. `duplicate`: see `once`. `delegated`: the Lambda
function ran out of time or memory, and Batch runs the event again. `submitted`: a Lambda function in batch
mode submitted a job. `node done`: another node than the main one of a job on several nodes."""

HANDED_ON = ("delegated", "submitted")
"""Statuses of runs whose event another run continues."""


class Run(NamedTuple):
    """One attempt to process one input. Unknown values are None. Times are in milliseconds since 1970 (UTC),
    durations in milliseconds, sizes in bytes."""

    function: str
    region: str
    mode: str
    """`lambda` or `batch`: where it ran."""
    status: str
    """One of `STATUSES`."""
    started_ms: float
    """When the runner began, after the queue and the initialization."""
    ended_ms: float
    request_id: str
    """Of Lambda; for Batch, the id of the job."""
    stream: str
    """Of its log."""
    subject: str = ""
    """The URI of the input, or what else caused the run, such as `HTTP request`."""
    cold: bool | None = None
    attempt: int | None = None
    """1 for the first one, as far as the runner knows."""
    total_ms: float | None = None
    queued_ms: float | None = None
    """From the event to the start of the run."""
    init_ms: float | None = None
    """Only of a cold start."""
    stage_in_ms: float | None = None
    image_ms: float | None = None
    run_ms: float | None = None
    stage_out_ms: float | None = None
    cpu_ms: float | None = None
    """CPU time of all processes of the container."""
    billed_ms: float | None = None
    """By Lambda. The runs of one invocation share its billed time."""
    input_bytes: int | None = None
    output_bytes: int | None = None
    output_files: int | None = None
    memory_used_bytes: int | None = None
    """The peak of the script, with the runner."""
    memory_given_bytes: int | None = None
    exit_code: int | None = None
    signal: str | None = None
    kind: str | None = None
    """The kind of an error."""
    error: str | None = None
    last_lines: str | None = None
    """The end of the container's output, if the run failed."""
    reason: str | None = None
    """Why it is a duplicate, was skipped or handed to Batch."""
    delegated_to: str | None = None
    """The id of the job that continues with the event."""
    trace: str | None = None
    """32 hexadecimal digits that all runs have in common which descend from one input."""
    span: str | None = None
    """16 hexadecimal digits: this run."""
    parent: str | None = None
    """16 hexadecimal digits: the run that wrote the input."""
    outputs: tuple[str, ...] = ()
    """URIs, up to a limit; `output_files` is the true number."""

    def stages(self) -> tuple[float, float, float, float, float, float, float]:
        """The duration of each of `STAGES` in milliseconds, 0 if it is unknown."""
        known = (
            self.init_ms or 0.0,
            self.stage_in_ms or 0.0,
            self.image_ms or 0.0,
            self.run_ms or 0.0,
            self.stage_out_ms or 0.0,
        )
        # The event waits while a cold start prepares the execution environment.
        queued = max(0.0, (self.queued_ms or 0.0) - known[0])
        rest = (self.total_ms or 0.0) - known[1] - known[2] - known[3] - known[4]
        return (queued, *known, max(0.0, rest))
