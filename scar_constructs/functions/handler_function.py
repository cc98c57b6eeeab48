"""The function behind a custom resource: a small Python program whose text stands in the template."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from scar_constructs.findings import acknowledge
from scar_constructs.functions.data_access import write_log_statement


def handler_file(name: str) -> Path:
    """The program `name` of `scar_constructs/handlers`."""
    return Path(__file__).parents[1] / "handlers" / name / "index.py"


class HandlerFunction(Construct):
    """A Lambda function with a log group, and a role that may write to it and do what it is allowed later.

    :param handler: name of the program in `scar_constructs/handlers`, which has at most 4096 characters.
    :param description: what it does.
    """

    def __init__(self, scope: Construct, construct_id: str, *, handler: str, description: str) -> None:
        super().__init__(scope, construct_id)
        log_group = logs.LogGroup(
            self, "Logs", retention=logs.RetentionDays.ONE_MONTH, removal_policy=RemovalPolicy.DESTROY
        )
        self._policy = iam.PolicyDocument(statements=[write_log_statement(log_group)])
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=description,
            # A policy of the role itself: it is there before the function runs, and until after its last run.
            inline_policies={"Rights": self._policy},
        )
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=lambda_.Runtime.PYTHON_3_13,
            handler="index.handler",
            code=lambda_.Code.from_inline(handler_file(handler).read_text(encoding="utf-8")),
            role=self.role,
            log_group=log_group,
            timeout=Duration.minutes(15),
            memory_size=256,
            description=description,
        )
        acknowledge(
            self.function, "AwsSolutions-L1", "Python 3.13 is the version that this code is tested with."
        )

    def allow(self, *statements: iam.PolicyStatement) -> None:
        """Give the function rights."""
        self._policy.add_statements(*statements)


SERVICE_TIMEOUT = Duration.minutes(17)
"""Of a custom resource with such a function: two minutes over the function's own limit. CloudFormation's
default is an hour.
"""
