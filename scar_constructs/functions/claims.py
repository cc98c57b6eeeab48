"""The table that records which inputs were processed, for functions with `once` (`runtime/once.py`)."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from scar_constructs.findings import acknowledge
from scar_constructs.functions.data_access import allow


class Claims(Construct):
    """A table of DynamoDB that costs nothing while idle, shared by the functions of a stack.

    Each item is about one input of one function, and expires 30 days after its last change. The table is
    encrypted with a key that AWS owns, and deleted with the stack.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute="expires_at",
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            self.table,
            "AwsSolutions-DDB3",
            "Claims expire: an older state of the table would be wrong, and is never restored.",
        )

    def grant_use(self, role: iam.IRole) -> None:
        """Let a role take and release claims."""
        allow(role, ["dynamodb:GetItem", "dynamodb:UpdateItem"], [self.table.table_arn])
