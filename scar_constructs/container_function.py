"""One function of a workflow: it runs the user's container in AWS Lambda, or submits the event to AWS Batch.

A function that runs the container itself is an image function: its image is the user's with the runner in it.
A function that only submits jobs is a zip function on the runner's layer. So is one with `runtime:
python3.13`, which pulls and unpacks the image at run time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from aws_cdk import Duration, Size, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from fdl_schemas.model import Function, StorageProvider
from scar_constructs.batch.event_store import EventStore
from scar_constructs.batch.jobs import FunctionJobs
from scar_constructs.batch.network import JobNetwork
from scar_constructs.endpoints.http_endpoint import HttpEndpoint
from scar_constructs.findings import acknowledge
from scar_constructs.functions.claims import Claims
from scar_constructs.functions.data_access import (
    allow,
    grant,
    grant_data_access,
    grant_image,
    grant_secrets,
    write_log_statement,
)
from scar_constructs.functions.failure_queue import FailureQueue, KeptEvents
from scar_constructs.functions.function_asset import FunctionAsset
from scar_constructs.functions.network import mount, place_in_vpc
from scar_constructs.functions.own_role import OwnRole
from scar_constructs.functions.preheating import Preheating
from scar_constructs.functions.provider_settings import foreign_secrets, stack_values
from scar_constructs.functions.retention import log_group, retention
from scar_constructs.functions.runner_asset import RunnerAsset
from scar_constructs.functions.service_principal import service_principal
from scar_constructs.images.assembled_image import AssembledImage
from scar_constructs.images.image_code import ImageCode
from scar_constructs.images.image_file import ImageFile
from scar_constructs.images.images import WorkflowImages
from scar_constructs.storage.input_queue import InputQueue
from scar_constructs.storage.secret import StorageSecret

HANDLER = "runtime.handler.handle"
"""The runner's entry point, in the shared layer."""

PERMISSIONS = "scar:permissions"
"""Metadata of a function with a given role: the policy that the role needs. `scar init` checks it."""

_GIVEN_POLICY = "Policy"
_ARCHITECTURES = {"x86_64": lambda_.Architecture.X86_64, "arm64": lambda_.Architecture.ARM_64}

_LONGEST_DESCRIPTION = 256


class ContainerFunction(Construct):
    """A Lambda function on the shared runner, with its log group, its role, its failure queue and, if needed,
    its Batch queue.

    A given role (`iam.role`) is used without changes. Batch jobs always have a role of their own, because a
    role for Lambda can rarely be assumed by containers, too.

    :param definition: the function; its entries contain final bucket names.
    :param buckets: the buckets that they name, by name.
    :param runner: the shared runner.
    :param network: the network of Batch jobs if the function sets no subnets; needed in the modes `batch` and
    `lambda-batch`. :param providers: the storage providers that it writes to, without variables in their
    settings
        (`storage_settings.with_environment_values`).
    :param storage_secret: contains their secrets, except for those that the user stores.
    :param images: assembles the function's image.
    :param event_store: passes long events to jobs; needed in the `batch` and `lambda-batch` modes.
    :param claims: records which inputs were processed; needed with `once`.
    :param registry_mirrors: mirrors that the runner pulls images from, `REGISTRY=BASE,…`.
    :param allow_loops: whether Lambda lets the function trigger itself through its outputs. Otherwise it
        stops a loop after about 16 invocations
        (https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html).
    :param metrics: publish metrics of its runs in CloudWatch.
    :param bucket_keys: ARNs of KMS keys, by the name of their bucket.
    :param destroy: delete the input and failure queues, with their events, when they leave the stack.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        definition: Function,
        buckets: Mapping[str, s3.IBucket],
        runner: RunnerAsset,
        network: JobNetwork | None = None,
        providers: Sequence[StorageProvider] = (),
        storage_secret: StorageSecret | None = None,
        images: WorkflowImages,
        event_store: EventStore | None = None,
        claims: Claims | None = None,
        registry_mirrors: str | None = None,
        allow_loops: bool = False,
        metrics: bool = True,
        bucket_keys: Mapping[str, str] = MappingProxyType({}),
        destroy: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        self.definition = definition
        self._allow_loops = allow_loops
        self._bucket_keys = bucket_keys
        secret = _needed_secret(definition, providers, storage_secret)
        self.failure_queue = FailureQueue(
            self, "FailureQueue", function_name=definition.name, destroy=destroy
        ).queue
        self.log_group = log_group(
            self, "Logs", retention(definition.log_retention_days), f"/aws/lambda/{definition.name}"
        )
        self.input_queues = self._input_queues(destroy=destroy)
        package = FunctionAsset(self, "Package", definition=definition, providers=providers)
        image_file = self._image_file(buckets)
        self.assembled: AssembledImage | None = None
        if definition.needs_assembled_image:
            self.assembled = images.assembled(
                self, definition=definition, package=package, image_file=image_file
            )
        image_uri = self.assembled.uri if self.assembled is not None else definition.container.image or ""
        self._claims = _needed_claims(definition, claims)
        variables = {
            **_variables(definition, secret, self._claims),
            **({} if metrics else {"SCAR_METRICS": "false"}),
        }
        self.batch: FunctionJobs | None = None
        if definition.batch is not None:
            self.batch = FunctionJobs(
                self,
                "Batch",
                definition=definition,
                buckets=buckets,
                image_uri=image_uri,
                repository=images.repository,
                environment=variables,
                failure_queue=self.failure_queue,
                event_store=event_store,
                network=network,
            )
            _grant_storage(self.batch.job_role, providers, secret)
            if self._claims is not None:
                self._claims.grant_use(self.batch.job_role)
        self.role = self._role(buckets, image_file, providers, secret)
        self.function = self._lambda_function(
            package=package,
            runner=runner,
            image_uri=image_uri,
            environment={
                **variables,
                **(self.batch.variables if self.batch is not None else {}),
                **(_pull_variables(registry_mirrors, image_file) if definition.pulls_image else {}),
            },
        )
        if secret is not None:
            self.function.node.add_dependency(secret.stored)
        for queue in self.input_queues.values():
            queue.trigger(self.function)
        self.endpoint = self._endpoint()
        self._set_options([package.asset, runner.asset], image_file)
        for key, value in definition.tags.items():
            Tags.of(self).add(key, value)

    def _lambda_function(
        self, *, package: FunctionAsset, runner: RunnerAsset, image_uri: str, environment: Mapping[str, str]
    ) -> lambda_.Function:
        """The function itself: of the image, or a zip with layers."""
        definition, zipped = self.definition, not self.definition.is_image_function
        function = lambda_.Function(
            self,
            "Function",
            function_name=definition.name,
            description=_description(definition),
            runtime=lambda_.Runtime.PYTHON_3_13 if zipped else lambda_.Runtime.FROM_IMAGE,
            handler=HANDLER if zipped else lambda_.Handler.FROM_IMAGE,
            code=package.code if zipped else ImageCode(image_uri),
            architecture=_ARCHITECTURES[definition.architecture],
            layers=[runner.layer, *self._layers()] if zipped else None,
            role=self.role,
            memory_size=definition.memory_mib,
            timeout=Duration.seconds(definition.timeout_s),
            ephemeral_storage_size=Size.mebibytes(definition.ephemeral_storage_mib),
            environment=environment,
            log_group=self.log_group,
            retry_attempts=definition.retry_attempts,
            recursive_loop=lambda_.RecursiveLoop.ALLOW
            if self._allow_loops
            else lambda_.RecursiveLoop.TERMINATE,
            reserved_concurrent_executions=definition.reserved_concurrency,
            on_failure=KeptEvents(self.failure_queue),
        )
        resource = function.node.default_child
        if isinstance(resource, lambda_.CfnFunction):
            resource.add_metadata("scar:files", package.files)
            if (permissions := self._permissions_of_given_role()) is not None:
                # Later permissions are added to the same document.
                resource.add_metadata(PERMISSIONS, permissions)
        if zipped and isinstance(resource, lambda_.CfnFunction):
            package.asset.add_resource_metadata(resource, "Code")
            acknowledge(
                function, "AwsSolutions-L1", "Python 3.13 is the version that the runner is tested with."
            )
        return function

    def _set_options(self, assets: Sequence[s3_assets.Asset], image_file: ImageFile | None) -> None:
        """Optional parts: a VPC, file systems, preheating."""
        definition = self.definition
        if definition.vpc is not None:
            place_in_vpc(self.function, definition.vpc, function_name=definition.name)
        if definition.file_systems and definition.runs_in_lambda:
            mount(self.function, definition.file_systems)
        if self.batch is not None and self.batch.event_store.contents is not None:
            self.function.node.add_dependency(self.batch.event_store.contents)
        if image_file is not None and image_file.staged is not None:
            self.function.node.add_dependency(image_file.staged)
        # In `batch` mode there is nothing to preheat: every job has a disk of its own.
        if definition.preheat and definition.runs_in_lambda:
            own = [] if image_file is None else [image_file.asset]
            hashes = [asset.asset_hash for asset in (*assets, *own)]
            Preheating(self, "Preheating", function=self.function, changes=hashes)

    def _endpoint(self) -> HttpEndpoint | None:
        definition = self.definition
        if definition.api_gateway is None:
            return None
        endpoint = HttpEndpoint(
            self,
            "Http",
            api=definition.api_gateway,
            function=self.function,
            function_name=definition.name,
            retention=retention(definition.log_retention_days),
        )
        if definition.runs_in_lambda:
            endpoint.grant_hand_on(self.role, definition.name)
        return endpoint

    def _layers(self) -> list[lambda_.ILayerVersion]:
        """The user's existing layers."""
        return [
            lambda_.LayerVersion.from_layer_version_arn(self, f"Layer{number}", arn)
            for number, arn in enumerate(self.definition.layer_arns)
        ]

    def _image_file(self, buckets: Mapping[str, s3.IBucket]) -> ImageFile | None:
        definition = self.definition
        if definition.container.image_file is None:
            return None
        file = ImageFile(
            self,
            "ImageFile",
            path=definition.container.image_file,
            function_name=definition.name,
            bucket_name=definition.deployment_bucket,
            bucket_key_arn=self._bucket_keys.get(definition.deployment_bucket or ""),
        )
        ours = buckets.get(definition.deployment_bucket or "")
        made = ours.node.default_child if ours is not None else None
        if file.staged is not None and made is not None:
            # Not the bucket's permissions: these wait for the function, and it for the copy.
            file.staged.node.add_dependency(made)
        return file

    def _role(
        self,
        buckets: Mapping[str, s3.IBucket],
        image_file: ImageFile | None,
        providers: Sequence[StorageProvider],
        secret: StorageSecret | None,
    ) -> iam.IRole:
        role: iam.IRole = (
            OwnRole(
                self,
                "Role",
                assumed_by=service_principal("lambda.amazonaws.com"),
                description=f"Permissions of function {self.definition.name}",
            )
            if self.definition.role_arn is None
            else iam.Role.from_role_arn(
                self, "Role", self.definition.role_arn, default_policy_name=_GIVEN_POLICY
            )
        )
        grant(role, write_log_statement(self.log_group))
        allow(role, ["sqs:SendMessage"], [self.failure_queue.queue_arn])
        if self.definition.runs_in_lambda:
            grant_data_access(role, self.definition, buckets)
        if self.definition.pulls_image and image_file is not None:
            image_file.grant_get(role)
        if self.batch is not None:
            self.batch.grant_submit(role)
        if self.definition.runs_in_lambda:
            _grant_storage(role, providers, secret)
            if self._claims is not None:
                self._claims.grant_use(role)
        if self.definition.pulls_image:
            grant_image(role, self.definition.container)
        for queue in self.input_queues.values():
            queue.grant_consume(role)
        return role

    def _input_queues(self, *, destroy: bool) -> Mapping[str | None, InputQueue]:
        """The queues of the inputs by their ARN in the FDL file; None: the one that is created."""
        queues = [entry.queue for entry in self.definition.inputs if entry.queue is not None]
        return {
            queue.arn: InputQueue(
                self,
                # By its ARN: Lambda allows only one mapping of a queue to a function.
                "InputQueue" if queue.arn is None else f"From-{queue.arn}",
                settings=queue,
                definition=self.definition,
                failure_queue=self.failure_queue,
                destroy=destroy,
            )
            for queue in dict.fromkeys(queues)
        }

    def _permissions_of_given_role(self) -> iam.PolicyDocument | None:
        """The permissions that a given role needs. They are removed from the template: its owner grants them.

        None if the role is created, or if it belongs to another account.
        """
        policy = self.role.node.try_find_child(_GIVEN_POLICY)
        if self.definition.role_arn is None or not isinstance(policy, iam.Policy):
            return None
        self.role.node.try_remove_child(_GIVEN_POLICY)
        return policy.document


def _needed_secret(
    definition: Function, providers: Sequence[StorageProvider], ours: StorageSecret | None
) -> StorageSecret | None:
    """The stack's secret, if a provider of the function keeps something in it."""
    if not stack_values(providers):
        return None
    if ours is None:
        raise ValueError(f"function {definition.name} needs a storage secret")
    return ours


def _needed_claims(definition: Function, ours: Claims | None) -> Claims | None:
    """The stack's table of claims, if the function uses it."""
    if not definition.once:
        return None
    if ours is None:
        raise ValueError(f"function {definition.name} needs a table of claims")
    return ours


def _variables(
    definition: Function, secret: StorageSecret | None, claims: Claims | None
) -> Mapping[str, str]:
    """Variables of the function and of its jobs."""
    ours = {} if secret is None else {"SCAR_STORAGE_SECRET": secret.secret.secret_arn}
    if claims is not None:
        ours["SCAR_CLAIMS_TABLE"] = claims.table.table_name
    return {**definition.environment, **ours}


def _pull_variables(registry_mirrors: str | None, image_file: ImageFile | None) -> Mapping[str, str]:
    """Where the runner finds the image, if it pulls it itself."""
    variables = {"SCAR_REGISTRY_MIRRORS": registry_mirrors} if registry_mirrors else {}
    return variables if image_file is None else {**variables, "SCAR_IMAGE_FILE": image_file.uri}


def _description(definition: Function) -> str:
    text = definition.description or f"Runs {definition.container.image or 'an image from a file'}"
    # The reference of an image can be twice as long: registry, repository, tag and digest.
    return text if len(text) <= _LONGEST_DESCRIPTION else f"{text[: _LONGEST_DESCRIPTION - 1]}…"


def _grant_storage(role: iam.IRole, providers: Sequence[StorageProvider], ours: StorageSecret | None) -> None:
    """Let a role read the secrets of the storage providers that it writes to."""
    grant_secrets(role, foreign_secrets(providers))
    if ours is not None:
        ours.grant_value(role)
