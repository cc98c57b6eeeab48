"""What Batch decides about a job: its command, its vCPUs, and whether it gets another attempt."""

from __future__ import annotations

from typing import Any

import pytest

from local_cloud.batch.errors import ClientError
from local_cloud.batch.jobs import vcpus
from local_cloud.batch.properties import substitute
from local_cloud.batch.retries import check_strategy, may_retry


def job(attempts_made: int = 1, attempts: int = 3, rules: Any = ()) -> dict[str, Any]:
    strategy = {"attempts": attempts, "evaluateOnExit": list(rules)}
    return {"attempts": [{}] * attempts_made, "retryStrategy": strategy, "container": {}}


@pytest.mark.parametrize(
    ("made", "allowed", "again"), [(1, 1, False), (1, 2, True), (2, 2, False), (9, 10, True), (10, 10, False)]
)
def test_a_job_is_retried_as_often_as_its_strategy_says(made: int, allowed: int, again: bool) -> None:
    assert may_retry(job(made, allowed), 1, None, "Essential container in task exited") is again


@pytest.mark.parametrize(
    ("rules", "again"),
    [
        ([{"onExitCode": "137", "action": "EXIT"}], False),
        ([{"onExitCode": "1*", "action": "EXIT"}], False),
        ([{"onExitCode": "2*", "action": "EXIT"}], True),
        ([{"onExitCode": "1", "action": "EXIT"}], True),  # no `*`: all of it has to match
        ([{"onReason": "OutOfMemory:*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}], False),
        ([{"onStatusReason": "Essential*", "onExitCode": "9", "action": "EXIT"}], True),  # both have to match
        ([{"onStatusReason": "Essential*", "onExitCode": "137", "action": "exit"}], False),
        ([{"onStatusReason": "essential*", "action": "EXIT"}], True),  # case matters
        ([{"onReason": "OutOfMemory*", "action": "RETRY"}, {"onExitCode": "137", "action": "EXIT"}], True),
        ([{"onExitCode": "137", "action": "EXIT"}, {"onReason": "OutOfMemory*", "action": "RETRY"}], False),
        ([{"onStatusReason": "[E]ssential*", "action": "EXIT"}], True),  # only `*` is special
    ],
)
def test_the_first_rule_that_fits_decides(rules: Any, again: bool) -> None:
    assert may_retry(job(rules=rules), 137, "OutOfMemoryError", "Essential container in task exited") is again


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ({"attempts": 11}, "between 1 and 10"),
        ({"evaluateOnExit": [{"onExitCode": "1", "action": "EXIT"}]}, "attempts is required"),
        ({"attempts": 2, "evaluateOnExit": [{"onExitCode": "1", "action": "EXIT"}] * 6}, "has 6 rules"),
        ({"attempts": 2, "evaluateOnExit": [{"onExitCode": "1", "action": "STOP"}]}, "RETRY or EXIT"),
        ({"attempts": 2, "evaluateOnExit": [{"action": "EXIT"}]}, "needs a condition"),
        (
            {"attempts": 2, "evaluateOnExit": [{"onExitCode": "*1", "action": "EXIT"}]},
            "restricted characters",
        ),
        ({"attempts": 2, "evaluateOnExit": [{"onReason": "a(b", "action": "EXIT"}]}, "restricted characters"),
        (
            {"attempts": 2, "evaluateOnExit": [{"onStatusReason": "Host * x", "action": "EXIT"}]},
            "restricted characters",
        ),
    ],
)
def test_a_strategy_that_aws_rejects_is_rejected(strategy: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError, match=said):
        check_strategy(strategy)


def test_a_strategy_may_have_five_rules_with_patterns_that_end_with_an_asterisk() -> None:
    rules = [{"onStatusReason": "Host EC2*", "onExitCode": "13*", "action": "retry"}] * 5
    check_strategy({"attempts": 10, "evaluateOnExit": rules})


def test_references_to_parameters_are_replaced_word_by_word() -> None:
    words = ["run", "Ref::input", "Ref::unknown", "x=Ref::input", "--", "Ref::"]
    assert substitute(words, {"input": "a b; $(id)"}) == [
        "run",
        "a b; $(id)",
        "Ref::unknown",
        "x=Ref::input",
        "--",
        "Ref::",
    ]


@pytest.mark.parametrize(
    ("container", "count"),
    [
        (
            {"resourceRequirements": [{"type": "MEMORY", "value": "512"}, {"type": "VCPU", "value": "0.25"}]},
            0.25,
        ),
        ({"vcpus": 4}, 4),
        ({}, 1),
    ],
)
def test_vcpus_are_found_in_both_spellings(container: dict[str, Any], count: float) -> None:
    assert vcpus({"container": container}) == count
