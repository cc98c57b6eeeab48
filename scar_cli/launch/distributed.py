"""`scar-launch --distributed`: list the files and send their events in AWS Step Functions.

The first file is run from this machine. Then the state machine of the function in the stack (`-c
distributed_launch=true`) is started, which leaves out that file. If an execution is already running, it is
followed instead.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import click

from scar_cli.aws.deployed import one_selected
from scar_cli.aws.invoking import LambdaEndpoint
from scar_cli.aws.session import client, explained
from scar_cli.errors import UserError
from scar_cli.launch.fan_out import Target
from scar_cli.launch.files import Listing
from scar_cli.launch.plan import LaunchOptions, Plan, option_of
from scar_cli.launch.send import files_to_send, run_first
from scar_cli.progress import terminal_line
from scar_cli.table import counted

EVENTS_IN_A_BATCH = 25
"""Events that a batch sends at once, see `scar_constructs/launch/states.py`."""
_LOOK_EVERY_S = (0.2, 5.0)
"""The first interval, and the longest one."""
_NOT_WITH_IT = ("bucket_path", "match", "newer_than", "skip_done", "limit", "rate", "max_cost", "resume")


@dataclass
class DistributedOutcome:
    """The result of a distributed launch."""

    function: str
    execution: str
    status: str
    first: int
    """1 if the first file was run from this machine."""
    listed: int
    """Keys that Step Functions listed."""
    kept: int = 0
    """Events in the failure queue."""
    left_out: int = 0
    """Markers of folders, files that the function's filters leave out, and the first one."""
    unsent: int = 0
    """Files of failed batches: events of some may have been sent."""
    reason: str = ""

    @property
    def sent(self) -> int:
        """Events that Lambda accepted, if the launch succeeded."""
        # The file that was run from this machine is listed again, and left out.
        return self.listed - self.left_out - self.kept - self.unsent + self.first

    @property
    def exit_code(self) -> int:
        """1 if the event of a file was not sent."""
        return 1 if self.status != "SUCCEEDED" or self.kept or self.unsent else 0

    def as_json(self) -> dict[str, Any]:
        """As an object."""
        return {**asdict(self), "sent": self.sent}


def batches_of(concurrency: int | None) -> int | None:
    """Number of batches that together send this many events at once."""
    return None if concurrency is None else -(-concurrency // EVENTS_IN_A_BATCH)


def refuse_other_options(options: LaunchOptions, *, wait: bool, dry_run: bool) -> None:
    """
    Raises:
        UserError: an option was given that only a launch from this machine has.
    """
    given = {option_of(name): getattr(options, name) for name in _NOT_WITH_IT}
    for option, value in {**given, "--wait": wait, "--dry-run": dry_run}.items():
        if value:
            raise UserError(f"{option} and --distributed cannot be used together", "Use only one of them")


def launch_distributed(plan: Plan, batches: int | None, *, shown: bool) -> DistributedOutcome:
    """Launch all files of the function's input folders, and wait until their events are sent.

    `batches` of 25 events are sent at once; None: the default of the state machine.

    Raises:
        UserError: it could not be started, or the function is in `batch` mode.
        KeyboardInterrupt: the launch continues, and the message says how to follow it.
    """
    if plan.is_batch:
        # One call of SubmitJob for each event would exceed what Batch accepts.
        raise UserError(
            f"{plan.function.name} is in batch mode, which does not support --distributed",
            "Omit --distributed: array jobs submit up to 10,000 files with one call"
            if plan.in_arrays
            else "Omit --distributed",
        )
    function = one_selected(plan.fdl, plan.options.name, stage=plan.options.stage)
    steps = client("stepfunctions", region=plan.region)
    machine = function.launch
    running = _running(steps, machine) if machine is not None else None
    if machine is None or running is None:
        raise UserError(
            f"The stack {function.stack} has no state machine for a distributed launch of {function.name}",
            f"Add one: scar init -f {plan.fdl} -c distributed_launch=true",
        )
    if running:
        click.echo("A launch is already running. Its progress:", err=True)
        return _followed(plan.function.name, steps, running[0], 0, shown=shown)
    first = next(files_to_send(plan, Listing(plan.s3, plan.selection)), None)
    if first is None:
        return DistributedOutcome(plan.function.name, "", "SUCCEEDED", 0, 0)
    lambda_ = client("lambda", region=plan.region)
    run_first(Target(plan.function.name, plan.region, LambdaEndpoint.of(lambda_)), first)
    given = {"skip": f"{first.bucket}/{first.key}", **({"concurrency": batches} if batches else {})}
    with explained():
        started = steps.start_execution(stateMachineArn=machine, input=json.dumps(given))
    return _followed(plan.function.name, steps, started["executionArn"], 1, shown=shown)


def told(outcome: DistributedOutcome) -> Iterator[str]:
    """The result in words."""
    if not outcome.execution:
        yield f"There are no files to send in the input folder of {outcome.function}."
        return
    how = "Sent" if outcome.status == "SUCCEEDED" else f"The launch ended as {outcome.status}. Sent at most"
    yield f"{how} {counted(outcome.sent, 'event')} to {outcome.function} from AWS."
    if outcome.left_out > outcome.first:
        others = counted(outcome.left_out - outcome.first, "key")
        yield f"Skipped: {others} (folder markers, empty files, names that the filters exclude)."
    if outcome.kept:
        kept = counted(outcome.kept, "event")
        yield f"Lambda did not accept {kept}. They are in the failure queue: scar retry sends them again."
    if outcome.unsent:
        yield f"It is unknown whether the events of {counted(outcome.unsent, 'file')} were sent."
    if outcome.status == "SUCCEEDED":
        yield f"Execution: {outcome.execution}"
        return
    if outcome.reason:
        yield f"Error of Step Functions: {outcome.reason}"
    yield f"Errors are in the log group /aws/vendedlogs/states/scar-launch-{outcome.function}"
    yield (
        "To retry the steps that failed: "
        f"aws stepfunctions redrive-execution --execution-arn {outcome.execution}"
    )


def _running(steps: Any, machine: str) -> list[str] | None:
    """ARNs of running launches (at most one); None if the state machine does not exist."""
    with explained("StateMachineDoesNotExist"):
        steps.describe_state_machine(stateMachineArn=machine)
        found = steps.list_executions(stateMachineArn=machine, statusFilter="RUNNING", maxResults=1)
        return [str(execution["executionArn"]) for execution in found["executions"]]
    return None


def _followed(function: str, steps: Any, execution: str, first: int, *, shown: bool) -> DistributedOutcome:
    """Wait until an execution ends."""
    every, slowest = _LOOK_EVERY_S
    try:
        # Step Functions counts what it has listed so far: both numbers grow.
        parts = ("AWS sends", "BarColumn", "MofNCompleteColumn", "TimeElapsedColumn")
        with terminal_line(*parts, shown=shown) as update:
            while True:
                with explained():
                    state = steps.describe_execution(executionArn=execution)
                    counts = _counts(steps, execution)
                if state["status"] != "RUNNING":
                    break
                if update is not None:
                    done = counts["succeeded"] + counts["failed"]
                    update(completed=done, total=counts["total"] or None)
                time.sleep(every)
                every = min(slowest, every * 1.5)
    except KeyboardInterrupt:
        click.echo(
            "The launch continues in AWS. To follow it, run the same command again. "
            f"To stop it: aws stepfunctions stop-execution --execution-arn {execution}",
            err=True,
        )
        raise
    outcome = DistributedOutcome(function, execution, state["status"], first, counts["total"])
    if state["status"] == "SUCCEEDED":
        output = json.loads(state["output"])
        outcome.kept, outcome.left_out = int(output["kept"]), int(output["left_out"])
        outcome.unsent = counts["failed"]
    else:
        outcome.unsent = counts["total"] - counts["succeeded"]
        outcome.reason = ": ".join(filter(None, (state.get("error", ""), state.get("cause", ""))))
    return outcome


def _counts(steps: Any, execution: str) -> dict[str, int]:
    """Of all folders: keys in all, succeeded and failed."""
    found = {"total": 0, "succeeded": 0, "failed": 0}
    for page in steps.get_paginator("list_map_runs").paginate(executionArn=execution):
        for run in page["mapRuns"]:
            counts = steps.describe_map_run(mapRunArn=run["mapRunArn"])["itemCounts"]
            found["total"] += counts["total"]
            found["succeeded"] += counts["succeeded"]
            found["failed"] += counts["failed"] + counts["timedOut"] + counts["aborted"]
    return found
