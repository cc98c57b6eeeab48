"""What cdk-nag and the CDK say about a workflow with many keys: nothing.

The examples (`test_examples`; the seed document is one of them), a workflow with every key
(`test_everything`) and generated documents (`test_generated_workflows`) are checked there, by cfn-lint too.
"""

from __future__ import annotations

from pathlib import Path

from aws_cdk import App, Stack
from aws_cdk import aws_s3 as s3

from tests.synth.synthesized import Synthesized, nag


def test_cdk_nag_finds_nothing_that_has_no_reason(rich: Synthesized) -> None:
    assert rich.findings() == []


def test_cdk_nag_would_find_something(tmp_path: Path) -> None:
    app = App(outdir=str(tmp_path), analytics_reporting=False, builtin_cloud_formation_validation=False)
    s3.Bucket(Stack(app, "stack"), "Open")
    assert "AwsSolutions-S10: stack/Open/Resource" in nag(app)


def test_cdk_has_nothing_to_say(rich: Synthesized) -> None:
    assert rich.said() == []
