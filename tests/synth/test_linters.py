"""What cdk-nag and the CDK say about a workflow with many keys: nothing.

The examples (`test_examples`; the seed document is one of them), a workflow with every key
(`test_everything`) and generated documents (`test_generated_workflows`) are checked there, by cfn-lint too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_s3 as s3
from botocore.exceptions import ClientError

from tests.synth.moto_deployment import problems
from tests.synth.policy_findings import policy_findings
from tests.synth.synthesized import Synthesized, nag


def test_cdk_nag_finds_nothing_that_has_no_reason(rich: Synthesized) -> None:
    assert rich.findings() == []


def test_cdk_nag_would_find_something(tmp_path: Path) -> None:
    app = App(outdir=str(tmp_path), analytics_reporting=False, builtin_cloud_formation_validation=False)
    s3.Bucket(Stack(app, "stack"), "Open")
    assert "AwsSolutions-S10: stack/Open/Resource" in nag(app)


def test_cdk_has_nothing_to_say(rich: Synthesized) -> None:
    assert rich.said() == []


def _statement(action: str, resource: str) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": action, "Resource": resource}}


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        (
            _statement("s3:GetObject", "arn:aws:s3:::bucket"),
            "parliament RESOURCE_MISMATCH: s3:GetObject needs",
        ),
        (_statement("s3:GetObjcet", "arn:aws:s3:::bucket/*"), "parliament UNKNOWN_ACTION: "),
        (_statement("s3:GetObject", "*"), "cloudsplaining DataExfiltration: s3:GetObject"),
    ],
)
def test_linters_of_policies_would_find_something(statement: dict[str, Any], finding: str) -> None:
    assert any(found.startswith(finding) for found in policy_findings(statement))


def test_moto_would_reject_something(tmp_path: Path) -> None:
    template = tmp_path / "template.json"
    reads = _statement("s3:GetObject", "*") | {"Statement": [_statement("s3:GetObject", "*")["Statement"]]}
    role = {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []},
            "Policies": [{"PolicyName": "reads", "PolicyDocument": reads}],
        },
    }
    unknown = {"Type": "AWS::EC2::TransitGatewayMulticastDomain", "Properties": {}}
    template.write_text(json.dumps({"Resources": {"Role": role, "Unknown": unknown}}))
    found = problems(template)
    assert "moto did not create 1 AWS::EC2::TransitGatewayMulticastDomain" in found
    assert any(one.endswith(" reads: cloudsplaining DataExfiltration: s3:GetObject") for one in found)
    role["Properties"]["RoleName"] = {"Fn::GetAtt": ["Missing", "Name"]}  # type: ignore[index]
    template.write_text(json.dumps({"Resources": {"Role": role}}))
    with pytest.raises(ClientError, match="undefined resource Missing"):
        problems(template)
