"""The function behind a custom resource: a small Python program in the template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from aws_cdk import CustomResource, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from scar_constructs.findings import acknowledge
from scar_constructs.functions.data_access import write_log_statement
from scar_constructs.functions.retention import log_group
from scar_constructs.functions.service_principal import service_principal

_IMPORT = "from scar_constructs.handlers.answering import Wish, respond\n\n"
_SERVICE_TIMEOUT = Duration.minutes(17)
"""Two minutes over the function's own limit. CloudFormation's default is an hour."""


def handler_file(name: str) -> Path:
    """The program `name` of `scar_constructs/handlers`."""
    return Path(__file__).parents[1] / "handlers" / name / "index.py"


def handler_code(name: str) -> str:
    """The code of a program in a template, with the code that answers CloudFormation."""
    program = handler_file(name).read_text(encoding="utf-8").replace(_IMPORT, "")
    answering = Path(__file__).parents[1] / "handlers" / "answering.py"
    return f"{answering.read_text(encoding='utf-8')}\n\n{program}"


class HandlerFunction(Construct):
    """A Lambda function with a log group, and a role that may write to it. More permissions are added later.

    :param handler: name of the program in `scar_constructs/handlers`; its `handler_code` has at most 4096
        characters.
    :param description: what it does.
    """

    def __init__(self, scope: Construct, construct_id: str, *, handler: str, description: str) -> None:
        super().__init__(scope, construct_id)
        log = log_group(self, "Logs")
        self._policy = iam.PolicyDocument(statements=[write_log_statement(log)])
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=service_principal("lambda.amazonaws.com"),
            description=description,
            # An inline policy: it exists before the function runs, and until after its last run.
            inline_policies={"Rights": self._policy},
        )
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=lambda_.Runtime.PYTHON_3_13,
            handler="index.handler",
            code=lambda_.Code.from_inline(handler_code(handler)),
            role=self.role,
            log_group=log,
            timeout=Duration.minutes(15),
            memory_size=256,
            description=description,
        )
        acknowledge(
            self.function, "AwsSolutions-L1", "Python 3.13 is the version that this code is tested with."
        )

    @classmethod
    def of(cls, scope: Construct, construct_id: str, *, handler: str, description: str) -> Self:
        """The function of the stack, created on first use."""
        stack = Stack.of(scope)
        found = stack.node.try_find_child(construct_id)
        if isinstance(found, cls):
            return found
        return cls(stack, construct_id, handler=handler, description=description)

    def resource(
        self, scope: Construct, construct_id: str, kind: str, properties: Mapping[str, object]
    ) -> CustomResource:
        """A custom resource of type `Custom::KIND` behind which this function is."""
        return CustomResource(
            scope,
            construct_id,
            resource_type=f"Custom::{kind}",
            service_token=self.function.function_arn,
            service_timeout=_SERVICE_TIMEOUT,
            properties=properties,
        )

    def allow(self, *statements: iam.PolicyStatement) -> None:
        """Give the function rights."""
        self._policy.add_statements(*statements)
