"""What others' linters say about our templates: nothing."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import App, Stack
from aws_cdk import aws_s3 as s3
from cfnlint import lint_file  # type: ignore[import-untyped]

from tests.synth.synthesized import Synthesized, nag


def test_cfn_lint_finds_nothing(seed: Synthesized) -> None:
    """(Nor in a workflow that uses every key, see `test_everything`: cfn-lint takes its time.)"""
    template = seed.folder / "workflow.template.json"
    assert [str(match) for match in lint_file(template)] == []


def test_cdk_nag_finds_nothing_that_has_no_reason(seed: Synthesized, rich: Synthesized) -> None:
    assert seed.findings() == []
    assert rich.findings() == []


def test_cdk_nag_would_find_something(tmp_path: Path) -> None:
    app = App(outdir=str(tmp_path), analytics_reporting=False)
    s3.Bucket(Stack(app, "stack"), "Open")
    assert "AwsSolutions-S10: stack/Open/Resource" in nag(app)


def test_cdk_has_nothing_to_say(seed: Synthesized, rich: Synthesized) -> None:
    assert seed.said() == []
    assert rich.said() == []
