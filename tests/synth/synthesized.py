"""What a synthesis gave, and how tests look at it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Synthesized:
    """What a synthesis gave."""

    folder: Path
    template: dict[str, Any]
    app: Any
    """The CDK's `App`."""

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Logical id → properties of all resources of a type."""
        resources = self.template["Resources"].items()
        return {name: found.get("Properties", {}) for name, found in resources if found["Type"] == kind}

    def one(self, kind: str, **properties: object) -> dict[str, Any]:
        """The only resource of a type, among those with these properties."""
        found = [
            resource
            for resource in self.of_type(kind).values()
            if all(resource.get(key) == value for key, value in properties.items())
        ]
        assert len(found) == 1, f"{len(found)} resources {kind} with {properties}"
        return found[0]

    def package(self, function_name: str) -> Path:
        """The folder that becomes a function's code, or goes into its image."""
        code = self.one("AWS::Lambda::Function", FunctionName=function_name)["Code"]
        if "ImageUri" in code:
            uri = self.image(function_name)["Package"]["Fn::Sub"]
            code = {"S3Key": uri.rpartition("/")[2]}
        return self.folder / f"asset.{code['S3Key'].removesuffix('.zip')}"

    def image(self, function_name: str) -> dict[str, Any]:
        """What the assembler is told of a function's image."""
        return self.one("Custom::ScarAssembledImage", FunctionName=function_name)

    def statements(self, part_of_name: str) -> list[dict[str, Any]]:
        """All statements of the policies of roles whose logical id contains a text."""
        roles = self.of_type("AWS::IAM::Role")
        policies = self.of_type("AWS::IAM::Policy")
        documents = [
            policy["PolicyDocument"]
            for name, role in roles.items()
            if part_of_name in name
            for policy in role.get("Policies", [])
        ]
        documents += [
            policy["PolicyDocument"]
            for policy in policies.values()
            if any(part_of_name in role["Ref"] for role in policy["Roles"])
        ]
        return [statement for document in documents for statement in document["Statement"]]

    def findings(self) -> list[str]:
        """What cdk-nag's pack AwsSolutions finds, and nobody has given a reason for."""
        return nag(self.app)

    def second_opinion(self) -> list[str]:
        """What moto rejects in a deployment of the template, and what linters find in its policies."""
        from tests.synth.moto_deployment import problems

        return problems(self.folder / "workflow.template.json")

    def said(self) -> list[object]:
        """Warnings, errors and remarks of the CDK."""
        return [
            (path, entry)
            for metadata in sorted(self.folder.glob("*.metadata.json"))
            for path, entries in json.loads(metadata.read_text()).items()
            for entry in entries
            if entry["type"] in ("aws:cdk:warning", "aws:cdk:error", "aws:cdk:info")
        ]


def nag(app: Any) -> list[str]:
    """The findings of cdk-nag's pack AwsSolutions."""
    from cdk_nag import AwsSolutionsChecks

    report = AwsSolutionsChecks(app).validate_scope(app)
    return [
        f"{violation.rule_name}: {resource.construct_path}"
        for violation in report.violations
        for resource in violation.violating_resources
    ]


Synthesize = Callable[..., Synthesized]
