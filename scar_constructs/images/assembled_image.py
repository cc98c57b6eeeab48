"""The image of one function, assembled when the stack is deployed."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import CustomResource, Duration
from constructs import Construct

from fdl_schemas.model import Function
from scar_constructs.functions.data_access import grant_assets, grant_image
from scar_constructs.functions.function_asset import FunctionAsset
from scar_constructs.images.assembler import ImageAssembler
from scar_constructs.images.image_file import ImageFile

_LONGEST = Duration.hours(1)
"""CloudFormation's limit for a custom resource. The largest image, 10 GiB, needs 3 MiB a second."""


class AssembledImage(Construct):
    """The user's image with the runner and the function's package in it, in the repository of the stack.

    The tag of the user's image is resolved when the image is first assembled.

    :param definition: the function.
    :param assembler: of the function's architecture.
    :param package: the function's configuration and script.
    :param image_file: the archive of its image, if it comes from a file.
    :param registry_mirrors: mirrors to try before the registries, `REGISTRY=BASE,…`.
    :param refresh: any text; the tag is resolved again when it changes.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        definition: Function,
        assembler: ImageAssembler,
        package: FunctionAsset,
        image_file: ImageFile | None = None,
        registry_mirrors: str | None = None,
        refresh: str,
    ) -> None:
        super().__init__(scope, construct_id)
        container = definition.container
        grant_assets(assembler.role, [package.asset])
        grant_image(assembler.role, container)
        if image_file is not None:
            image_file.grant_get(assembler.role)
        assembler.may_look_at(definition.name)
        properties: dict[str, object] = {
            "FunctionName": definition.name,
            "PackageType": "Image" if definition.is_image_function else "Zip",
            "RepositoryName": assembler.repository.repository_name,
            "RepositoryUri": assembler.repository.repository_uri,
            "Architecture": assembler.architecture,
            "Package": package.asset.s3_object_url,
            "Runner": assembler.runner_hash,
            "Refresh": refresh,
            **_given(
                Image=container.image,
                Archive=image_file.uri if image_file is not None else None,
                RegistryCredentials=container.registry_credentials,
                RegistryMirrors=registry_mirrors,
            ),
        }
        self.resource = CustomResource(
            self,
            "Resource",
            resource_type="Custom::ScarAssembledImage",
            service_token=assembler.function.function_arn,
            service_timeout=_LONGEST,
            properties=properties,
        )
        self.resource.node.add_dependency(assembler.role, assembler.may_continue)
        if image_file is not None and image_file.staged is not None:
            self.resource.node.add_dependency(image_file.staged)
        self.uri = self.resource.get_att_string("ImageUri")
        """Of the assembled image, with its digest."""
        self.source_digest = self.resource.get_att_string("SourceDigest")
        """Of the user's image that it was assembled from."""


def _given(**properties: str | None) -> Mapping[str, str]:
    return {name: value for name, value in properties.items() if value is not None}
