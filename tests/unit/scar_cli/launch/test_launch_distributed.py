"""What `scar-launch --distributed` says of a launch that AWS has carried out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scar_cli.launch.distributed import DistributedOutcome, batches_of, told

EXECUTION = "arn:aws:states:us-east-1:000000000000:execution:scar-launch-f:1"
DONE = DistributedOutcome("f", EXECUTION, "SUCCEEDED", first=1, listed=11, left_out=3)


def test_the_file_that_was_run_first_counts_once() -> None:
    assert (DONE.sent, DONE.exit_code) == (9, 0)
    first, second, third = told(DONE)
    assert first == "Sent 9 events to f from AWS."
    assert second.startswith("Skipped: 2 keys")
    assert third == f"Execution: {EXECUTION}"


def test_events_that_were_not_taken_are_said_with_what_to_do() -> None:
    outcome = replace(DONE, kept=4, unsent=2)
    assert (outcome.sent, outcome.exit_code) == (3, 1)
    text = "\n".join(told(outcome))
    assert "did not accept 4 events" in text
    assert "scar retry" in text
    assert "the events of 2 files were sent" in text


def test_a_launch_that_failed_says_why_and_how_to_go_on() -> None:
    outcome = replace(DONE, status="FAILED", left_out=0, unsent=10, reason="States.X: why")
    assert outcome.exit_code == 1
    text = "\n".join(told(outcome))
    assert "The launch ended as FAILED. Sent at most 2 events" in text
    assert "States.X: why" in text
    assert "/aws/vendedlogs/states/scar-launch-f" in text
    assert f"redrive-execution --execution-arn {EXECUTION}" in text


def test_nothing_to_send() -> None:
    outcome = DistributedOutcome("f", "", "SUCCEEDED", first=0, listed=0)
    assert list(told(outcome)) == ["There are no files to send in the input folder of f."]
    assert outcome.exit_code == 0


@pytest.mark.parametrize(("concurrency", "batches"), [(None, None), (1, 1), (25, 1), (26, 2), (500, 20)])
def test_concurrency_is_rounded_up_to_batches(concurrency: int | None, batches: int | None) -> None:
    assert batches_of(concurrency) == batches
