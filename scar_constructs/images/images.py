"""The images of a workflow's functions, and the repository and assemblers that they need."""

from __future__ import annotations

from aws_cdk import CfnParameter
from aws_cdk import aws_ecr as ecr
from constructs import Construct

from fdl_schemas.model import Function
from scar_constructs.functions.function_asset import FunctionAsset
from scar_constructs.functions.runner_asset import RunnerAsset
from scar_constructs.images.assembled_image import AssembledImage
from scar_constructs.images.assembler import ImageAssembler
from scar_constructs.images.image_file import ImageFile
from scar_constructs.images.repository import ImageRepository

REFRESH_IMAGES = "RefreshImages"
"""Parameter of the stack: the tags of all images are resolved again when this text changes.

Not a context value: CloudFormation keeps a parameter's value in later deployments, so that they stay at the
newest image, and restores it in a rollback.
"""


class WorkflowImages(Construct):
    """Repository and assemblers of a workflow, created when the first function needs them.

    :param runner: the runner for the images.
    :param registry_mirrors: see `AssembledImage`.
    :param keep: see `ImageRepository`.
    :param main: in a nested stack, the images of the main stack. The repository is the same, and the
        assemblers are its own: a role has no room for permissions on the packages of hundreds of functions.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        runner: RunnerAsset,
        registry_mirrors: str | None = None,
        keep: bool = False,
        main: WorkflowImages | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._workflow = scope
        self._main = main
        self._runner = runner
        self._registry_mirrors = registry_mirrors
        self._keep = keep
        self._repository: ImageRepository | None = None
        self._refresh: CfnParameter | None = None
        self._assemblers: dict[str, ImageAssembler] = {}

    def assembled(
        self, scope: Construct, *, definition: Function, package: FunctionAsset, image_file: ImageFile | None
    ) -> AssembledImage:
        """The assembled image of a function, as a child of `scope`."""
        return AssembledImage(
            scope,
            "Image",
            definition=definition,
            assembler=self._assembler(definition.architecture),
            package=package,
            image_file=image_file,
            registry_mirrors=self._registry_mirrors,
            refresh=self._refresh_parameter().value_as_string,
        )

    @property
    def repository(self) -> ecr.Repository | None:
        """The repository of assembled images; None if the stack has none."""
        if self._main is not None:
            return self._main.repository
        return None if self._repository is None else self._repository.repository

    def _refresh_parameter(self) -> CfnParameter:
        if self._main is not None:
            return self._main._refresh_parameter()
        if self._refresh is None:
            self._refresh = CfnParameter(
                self._workflow,
                REFRESH_IMAGES,
                default="",
                description="Any text: the tags of all images are looked up again when it changes",
            )
        return self._refresh

    def _needed_repository(self) -> ecr.Repository:
        if self._main is not None:
            return self._main._needed_repository()
        if self._repository is None:
            self._repository = ImageRepository(self, "Repository", keep=self._keep)
        return self._repository.repository

    def _assembler(self, architecture: str) -> ImageAssembler:
        if architecture not in self._assemblers:
            self._assemblers[architecture] = ImageAssembler(
                self,
                "Assembler" if architecture == "x86_64" else f"Assembler-{architecture}",
                repository=self._needed_repository(),
                runner=self._runner,
                architecture=architecture,
            )
        return self._assemblers[architecture]
