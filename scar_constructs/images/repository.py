"""The ECR repository of a stack, with its assembled images."""

from __future__ import annotations

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from constructs import Construct


class ImageRepository(Construct):
    """A private, encrypted repository that scans pushed images and is deleted with the stack.

    Nothing expires: a rollback needs the previous image, and so does a Batch job that was submitted before an
    update and is still waiting. The images of one function share all layers except for a few kilobytes.

    :param keep: keep the repository and its images when the stack is deleted.
    """

    def __init__(self, scope: Construct, construct_id: str, *, keep: bool = False) -> None:
        super().__init__(scope, construct_id)
        self.repository = ecr.Repository(
            self,
            "Resource",
            encryption=ecr.RepositoryEncryption.AES_256,
            image_scan_on_push=True,
            # A tag is the digest of what decides its image (`containers.assembly.records`).
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
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
