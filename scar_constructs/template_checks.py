"""Findings of template linters that are accepted."""

from __future__ import annotations

from aws_cdk import Stack
from constructs import IConstruct

from scar_constructs.findings import acknowledge

_LITERAL_TEXT = ("E1029", "W1053")
"""Text of the FDL file that looks like a parameter or a reference is used literally."""
_REDUNDANT_DEPENDENCY = "W3005"
"""The CDK writes "DependsOn" beside a reference to the same role: redundant and harmless."""


def accept_literal_text(construct: IConstruct) -> None:
    """Accept findings of the CDK's own validation about text of the FDL file."""
    for rule in _LITERAL_TEXT:
        acknowledge(construct, f"CloudFormation-Validate::{rule}", "Text of the FDL file is used literally.")


def accept_in_cfn_lint(stack: Stack) -> None:
    """Accept the findings of cfn-lint in the whole template."""
    checks = [_REDUNDANT_DEPENDENCY, *_LITERAL_TEXT]
    stack.template_options.metadata = {"cfn-lint": {"config": {"ignore_checks": checks}}}
