"""Functions that are invoked once after they are deployed.

For the event `{"preheat": true}`, the runner prepares everything and runs nothing: in pulled mode it pulls
and unpacks the image. The invocation is asynchronous, and repeated whenever the package or the runner
changes.
"""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from scar_constructs.functions.handler_function import HandlerFunction


class Preheating(Construct):
    """Invokes a function once after it was deployed.

    :param function: the function.
    :param changes: it is invoked again when one of these texts changes.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, function: lambda_.Function, changes: list[str]
    ) -> None:
        super().__init__(scope, construct_id)
        provider = HandlerFunction.of(
            self, "PreheatingProvider", handler="preheat", description="Invokes new functions once"
        )
        provider.allow(
            iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[function.function_arn])
        )
        properties = {"FunctionName": function.function_name, "Changes": changes}
        resource = provider.resource(self, "Resource", "ScarPreheat", properties)
        # With its role's policies and its failure queue's.
        resource.node.add_dependency(function)
