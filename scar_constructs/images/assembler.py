"""The Lambda function that assembles images when a stack is deployed."""

from __future__ import annotations

from aws_cdk import Duration, Size, Stack
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from scar_constructs.findings import acknowledge
from scar_constructs.functions.asset_code import code_of
from scar_constructs.functions.data_access import allow, grant_ecr_login, write_log_statement
from scar_constructs.functions.network import function_arn
from scar_constructs.functions.retention import log_group
from scar_constructs.functions.runner_asset import RunnerAsset
from scar_constructs.functions.service_principal import service_principal
from scar_constructs.images.assembler_asset import assembler_folder

_MEMORY_MIB = 2048
"""Lambda assigns processor and network in proportion to memory; 1 769 MiB is one full vCPU."""

_PUSH = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:GetDownloadUrlForLayer",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
)


class ImageAssembler(Construct):
    """The function behind `Custom::ScarAssembledImage`, for one architecture.

    It packs its own Python interpreter into the images, so it runs on their architecture. It may read the
    sources of each `AssembledImage`, and push to the repository.

    :param repository: the repository for assembled images.
    :param runner: the layer with the runner, and with the package `containers` that does the work.
    :param architecture: `x86_64` or `arm64`.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        repository: ecr.Repository,
        runner: RunnerAsset,
        architecture: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self.architecture = architecture
        self.repository = repository
        log = log_group(self, "Logs")
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=service_principal("lambda.amazonaws.com"),
            description="Assembles images and pushes them to the repository of the stack",
        )
        self.role.add_to_principal_policy(write_log_statement(log))
        allow(self.role, _PUSH, [repository.repository_arn])
        grant_ecr_login(self.role)
        handler = s3_assets.Asset(self, "Handler", path=str(assembler_folder()))
        self.runner_hash = f"{runner.asset.asset_hash}-{handler.asset_hash}"
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=(
                lambda_.Architecture.ARM_64 if architecture == "arm64" else lambda_.Architecture.X86_64
            ),
            handler="index.handler",
            code=code_of(handler),
            layers=[runner.layer],
            role=self.role,
            log_group=log,
            timeout=Duration.minutes(15),
            memory_size=_MEMORY_MIB,
            # Only an archive that is compressed as a whole is written to the disk.
            ephemeral_storage_size=Size.gibibytes(10),
            description="Assembles images from users' images and the runner",
            # The handler answers in any case; a killed invocation is retried.
            retry_attempts=2,
        )
        # An assembly that takes longer than a function may run is continued by a second invocation. This is a
        # policy of its own, as the function waits for those of its role.
        self.may_continue = iam.Policy(
            self,
            "Continue",
            statements=[
                iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[self.function.function_arn])
            ],
            roles=[self.role],
        )
        acknowledge(
            self.function, "AwsSolutions-L1", "Python 3.13 is the version that this code is tested with."
        )

    def may_look_at(self, function_name: str) -> None:
        """Let it see whether a function of this name exists with the other package type."""
        allow(self.role, ["lambda:GetFunctionConfiguration"], [function_arn(Stack.of(self), function_name)])
