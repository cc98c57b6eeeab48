"""The table of a proof and its costs."""

from __future__ import annotations

import json
from pathlib import Path

from fdl_schemas.load import load_workflow
from tests import examples
from tests.proof.costs import at_most
from tests.proof.evidence import FAILED, LEFT_OUT, PASSED, Evidence, Row


def evidence(*rows: Row) -> Evidence:
    return Evidence(
        "2026-12-01T10:00:00+00:00", "AWS account …1234, eu-west-1", "p1", {"scar-cdk": "1"}, [*rows]
    )


def test_the_table_says_what_was_seen_and_what_was_not(tmp_path: Path) -> None:
    made = evidence(
        Row("filters", PASSED, None, 80.04, 6.5, 1.25, 30, 120, 60, 0.031, ['{"message": "summary"}']),
        Row("vpc-efs", LEFT_OUT, "it needs a VPC"),
    )
    made.write(tmp_path)
    text = (tmp_path / "proof.md").read_text()
    assert text.startswith("# Proof on AWS account …1234, eu-west-1\n\n2026-12-01T10:00:00+00:00, run `p1`.")
    assert "| filters | passed | 80.0 | 6.5 | 1.2 | 30.0 | 120 | 60 | 0.031 |\n" in text
    assert "| vpc-efs | skipped |  |  |  |  | 0 | 0 |  |\n" in text
    assert "## Not proved\n\n- vpc-efs, skipped: it needs a VPC\n" in text
    assert 'filters: {"message": "summary"}\n' in text
    assert "Could not be removed" not in text
    assert json.loads((tmp_path / "proof.json").read_text())["rows"][0]["warm_s"] == 1.25


def test_a_proof_is_good_if_nothing_failed_and_nothing_is_left() -> None:
    assert evidence(Row("a", PASSED), Row("b", LEFT_OUT)).is_good
    assert not evidence(Row("a", PASSED), Row("b", FAILED)).is_good
    left = evidence(Row("a", PASSED, left=["AWS::S3::Bucket scar-words-p1"]))
    assert not left.is_good
    assert "## Could not be removed\n\n- a: AWS::S3::Bucket scar-words-p1\n" in left.markdown()


def test_costs_grow_with_memory_time_and_jobs_and_stay_below_a_dollar() -> None:
    def workflow(name: str) -> float:
        return at_most(load_workflow(examples.fdl_of(examples.EXAMPLES / name)), 4)

    assert 0.01 < workflow("single-function") < workflow("shared-input") < 1
    assert workflow("single-function") < workflow("lambda-batch") < 1
    small = load_workflow(examples.fdl_of(examples.EXAMPLES / "single-function"))
    assert at_most(small, 4, measured_s=2) < at_most(small, 4) < at_most(small, 8)
