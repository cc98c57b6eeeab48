"""The HTTP endpoint of a function: a REST API that passes requests to it unchanged.

The function answers, or (`X-Amz-Invocation-Type: Event`) invokes itself asynchronously: see
`runtime/events/http_async.py`. A REST API, not an HTTP API, because only the former has API keys.
"""

from __future__ import annotations

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from fdl_schemas.model import ApiGateway
from scar_constructs.findings import acknowledge
from scar_constructs.functions.data_access import allow
from scar_constructs.functions.network import function_arn
from scar_constructs.functions.retention import log_group
from scar_constructs.main_stack import main_stack

STAGE = "scar"
PATH = "launch"
"""Name of stage and resource, as in SCAR: `https://…/scar/launch`."""
RATE_PER_S, BURST = 20, 40
"""Requests that are let through: a public endpoint spends its owner's money."""

_METHODS = ("GET", "POST")


class HttpEndpoint(Construct):
    """A regional REST API with GET and POST on one resource, for one function.

    Bodies of any type are passed on unchanged. Every request is in the access log. Requests are throttled.

    :param api: its name and authorization.
    :param function: what is called.
    :param function_name: its name.
    :param retention: of the access log.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        api: ApiGateway,
        function: lambda_.Function,
        function_name: str,
        retention: logs.RetentionDays,
    ) -> None:
        super().__init__(scope, construct_id)
        self.api = apigateway.RestApi(
            self,
            "Api",
            rest_api_name=api.name,
            description=f"Runs {function_name}",
            endpoint_configuration=apigateway.EndpointConfiguration(types=[apigateway.EndpointType.REGIONAL]),
            binary_media_types=["*/*"],
            cloud_watch_role=False,
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE,
                throttling_rate_limit=RATE_PER_S,
                throttling_burst_limit=BURST,
                access_log_destination=apigateway.LogGroupLogDestination(
                    log_group(self, "AccessLog", retention)
                ),
                access_log_format=apigateway.AccessLogFormat.json_with_standard_fields(
                    caller=True,
                    http_method=True,
                    ip=True,
                    protocol=True,
                    request_time=True,
                    resource_path=True,
                    response_length=True,
                    status=True,
                    user=True,
                ),
            ),
        )
        self.api.node.try_remove_child("Endpoint")  # an output of its own, beside the stack's one
        self.api.deployment_stage.node.add_dependency(_LogRole.of(self))
        integration = apigateway.LambdaIntegration(function, allow_test_invoke=False)
        resource = self.api.root.add_resource(PATH)
        for method in _METHODS:
            resource.add_method(
                method,
                integration,
                api_key_required=api.auth == "API_KEY",
                authorization_type=apigateway.AuthorizationType.IAM
                if api.auth == "AWS_IAM"
                else apigateway.AuthorizationType.NONE,
            )
        self.api_key_id = self._api_key() if api.auth == "API_KEY" else None
        self.url = self.api.url_for_path(f"/{PATH}")
        self._acknowledge(api.auth)

    def grant_hand_on(self, role: iam.IRole, function_name: str) -> None:
        """Let the function invoke itself, for asynchronous requests."""
        allow(role, ["lambda:InvokeFunction"], [function_arn(Stack.of(self), function_name)])

    def _api_key(self) -> str:
        """Create a key (AWS generates its value, which is not in the template) and its usage plan."""
        key = self.api.add_api_key("Key")
        plan = self.api.add_usage_plan(
            "Plan", throttle=apigateway.ThrottleSettings(rate_limit=RATE_PER_S, burst_limit=BURST)
        )
        plan.add_api_key(key)
        plan.add_api_stage(stage=self.api.deployment_stage)
        return key.key_id

    def _acknowledge(self, auth: str) -> None:
        reasons = {
            "AwsSolutions-APIG2": "The function validates requests, and its answers explain errors.",
            "AwsSolutions-APIG3": "A web ACL costs every month, used or not. One can be attached.",
            "AwsSolutions-APIG6": "Each request is in the access log, and its run in the function's log.",
        }
        about_callers = {
            "NONE": "The workflow's author asked for a public endpoint. It is throttled.",
            "API_KEY": "Callers must send an API key.",
            "AWS_IAM": "Callers must sign their requests with AWS IAM credentials.",
        }
        reasons |= dict.fromkeys(("AwsSolutions-APIG4", "AwsSolutions-COG4"), about_callers[auth])
        for rule, reason in reasons.items():
            acknowledge(self.api, rule, reason)


class _LogRole(Construct):
    """The role with which API Gateway writes logs: one setting for the whole account and region.

    Without it, no stage can have an access log. It has the permissions of AWS's policy for this purpose, and
    is kept when the stack is destroyed, because other APIs of the account may depend on it.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("apigateway.amazonaws.com"),
            description="Writes the logs of API Gateway",
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name(
                    "service-role/AmazonAPIGatewayPushToCloudWatchLogs"
                )
            ],
        )
        # No L2 construct.
        account = apigateway.CfnAccount(self, "Account", cloud_watch_role_arn=role.role_arn)
        for kept in (role, account):
            kept.apply_removal_policy(RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
        acknowledge(
            role,
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/"
            "AmazonAPIGatewayPushToCloudWatchLogs]",
            "API Gateway accepts no role with fewer permissions for its account-wide setting.",
        )

    @classmethod
    def of(cls, scope: Construct) -> _LogRole:
        stack = main_stack(scope)
        found = stack.node.try_find_child("ApiGatewayLogs")
        return found if isinstance(found, _LogRole) else cls(stack, "ApiGatewayLogs")
