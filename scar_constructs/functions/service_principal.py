"""The AWS services that assume a role, each only on behalf of this account."""

from __future__ import annotations

from aws_cdk import Aws
from aws_cdk import aws_iam as iam


def service_principal(service: str, *, source_arn: str | None = None) -> iam.ServicePrincipal:
    """A service that may assume a role only for resources of the role's account (confused deputy).

    Only for services that send `aws:SourceAccount` when they assume a role. With any other service, the
    condition is never met. These do: Lambda
    (https://docs.aws.amazon.com/lambda/latest/dg/permissions-managed-policies.html), tasks of ECS
    (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html), Step Functions
    (https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html) and EventBridge
    (https://docs.aws.amazon.com/eventbridge/latest/userguide/cross-service-confused-deputy-prevention.html).
    Alarms of CloudWatch send it when they notify a topic.

    :param service: such as `lambda.amazonaws.com`.
    :param source_arn: pattern for the ARN of the service's resource.
    """
    conditions: dict[str, dict[str, str]] = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
    if source_arn is not None:
        conditions["ArnLike"] = {"aws:SourceArn": source_arn}
    return iam.ServicePrincipal(service, conditions=conditions)
