"""What others' linters say about our templates: nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aws_cdk import App, Stack
from aws_cdk import aws_s3 as s3
from cfnlint import lint_file  # type: ignore[import-untyped]

from fdl_schemas.model import Workflow
from scar_constructs.workflow_stack import WorkflowStack
from tests.synth.synthesized import Synthesized


def test_cfn_lint_finds_nothing(seed: Synthesized, rich: Synthesized) -> None:
    for synthesized in (seed, rich):
        template = synthesized.folder / "workflow.template.json"
        assert [str(match) for match in lint_file(template)] == []


def nag(app: App) -> list[str]:
    """The findings of cdk-nag's pack AwsSolutions."""
    from cdk_nag import AwsSolutionsChecks

    report = AwsSolutionsChecks(app).validate_scope(app)
    return [
        f"{violation.rule_name}: {resource.construct_path}"
        for violation in report.violations
        for resource in violation.violating_resources
    ]


def test_cdk_nag_finds_nothing_that_has_no_reason(
    seed_workflow: Workflow, rich_workflow: Workflow, feature_flags: Mapping[str, Any], tmp_path: Path
) -> None:
    app = App(outdir=str(tmp_path), context=dict(feature_flags), analytics_reporting=False)
    WorkflowStack(app, "seed", workflow=seed_workflow)
    WorkflowStack(app, "rich", workflow=rich_workflow, destroy_buckets=True)
    assert nag(app) == []


def test_cdk_nag_would_find_something(tmp_path: Path) -> None:
    app = App(outdir=str(tmp_path), analytics_reporting=False)
    s3.Bucket(Stack(app, "stack"), "Open")
    assert "AwsSolutions-S10: stack/Open/Resource" in nag(app)


def test_cdk_has_nothing_to_say(seed: Synthesized, rich: Synthesized) -> None:
    for synthesized in (seed, rich):
        manifest = json.loads((synthesized.folder / "manifest.json").read_text())
        said = [
            (path, entry)
            for path, entries in manifest["artifacts"]["workflow"].get("metadata", {}).items()
            for entry in entries
            if entry["type"] in ("aws:cdk:warning", "aws:cdk:error", "aws:cdk:info")
        ]
        assert said == []
