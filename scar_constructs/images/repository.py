"""The ECR repository of a stack, which holds its assembled images."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from constructs import Construct

_UNTAGGED_DAYS = 30


class ImageRepository(Construct):
    """A private, encrypted repository that scans what is pushed and goes with the stack.

    Images that a deployment uses are tagged. What no tag names any more expires after a month: long after a
    rollback could want it.

    :param keep: leave repository and images when the stack is destroyed.
    """

    def __init__(self, scope: Construct, construct_id: str, *, keep: bool = False) -> None:
        super().__init__(scope, construct_id)
        self.repository = ecr.Repository(
            self,
            "Resource",
            encryption=ecr.RepositoryEncryption.AES_256,
            image_scan_on_push=True,
            lifecycle_rules=[
                ecr.LifecycleRule(
                    description="Images that no deployment uses any more",
                    tag_status=ecr.TagStatus.UNTAGGED,
                    max_image_age=Duration.days(_UNTAGGED_DAYS),
                )
            ],
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if keep else RemovalPolicy.DESTROY,
            empty_on_delete=not keep,
        )
        self.repository.add_to_resource_policy(
            iam.PolicyStatement(
                sid="LambdaPullsImages",
                principals=[iam.ServicePrincipal("lambda.amazonaws.com")],
                actions=["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                # Without it, any account's function could have Lambda pull from here (confused deputy).
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            )
        )
