"""The runner layer: `containers/` and `runtime/` with the libraries that they need, packaged once for all
functions of a stack.

The libraries (boto3 and what it needs) are copied from the Python environment that synthesizes:
`requirements.txt` pins them, so that every environment packages the same files, and no network is needed.
`compiled_libraries` adds those that are compiled for AWS Lambda's Python; in pulled mode, `udocker_tools`
adds the replacement for namespaces. Unused files are left out, mainly the descriptions of the other four
hundred AWS services: 20 MB become 4. The asset's hash depends on the folder's content only.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from scar_constructs.functions.asset_code import code_of
from scar_constructs.functions.compiled_libraries import add_compiled_libraries
from scar_constructs.functions.udocker_tools import add_udocker_tools
from toolchain.runner_libraries import runner_libraries

RUNNER_LIBRARIES = ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3")
"""Distributions in the layer."""

AWS_SERVICES = ("batch", "dynamodb", "ecr", "lambda", "logs", "s3", "secretsmanager", "sns", "sqs", "sts")
"""Services whose descriptions botocore keeps in the layer."""

_PACKAGES = [Path(__file__).resolve().parents[2] / name for name in ("containers", "runtime")]
_LEFT_OUT_FOLDERS = ("__pycache__", "tests", "examples", "building")


class RunnerAsset(Construct):
    """The shared layer, and its zip as an asset.

    :param udocker_tarball: udocker's tools, needed on AWS Lambda if a function uses pulled mode.
    :raises DeploymentError: `udocker_tarball` is not such a release.
    """

    def __init__(self, scope: Construct, construct_id: str, *, udocker_tarball: Path | None = None) -> None:
        super().__init__(scope, construct_id)
        folder = runner_folder(udocker_tarball)
        self.asset = s3_assets.Asset(self, "Asset", path=str(folder))
        self.layer = lambda_.LayerVersion(
            self,
            "Layer",
            code=code_of(self.asset),
            compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
            compatible_architectures=[lambda_.Architecture.X86_64, lambda_.Architecture.ARM_64],
            description="Runs a user's container: the runner and its libraries",
            license="Apache-2.0",
        )
        self.asset.add_resource_metadata(_cfn_layer(self.layer), "Content")


@cache
def runner_folder(udocker_tarball: Path | None = None) -> Path:
    """The layer's content in a temporary folder of this process, which is removed when the process ends."""
    folder = folder_of_this_process("scar-runner-")
    build_runner(folder, udocker_tarball)
    return folder


def folder_of_this_process(prefix: str) -> Path:
    """A new temporary folder, which is removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def build_runner(folder: Path, udocker_tarball: Path | None = None) -> None:
    """Write the layer's content into an empty folder: `python/` as AWS Lambda expects it, and `licenses/`.

    :raises RuntimeError: a library is not installed.
    :raises DownloadError: the compiled libraries cannot be fetched.
    :raises DeploymentError: `udocker_tarball` cannot be used.
    """
    for package in _PACKAGES:
        for source in sorted(package.rglob("*")):
            inside = PurePosixPath(source.relative_to(package).as_posix())
            if source.is_file() and not _left_out(inside):
                _copy(source, folder / "python" / package.name / inside)
    if udocker_tarball is not None:
        add_udocker_tools(udocker_tarball, folder / "python" / "containers" / "udocker_tools")
    add_compiled_libraries(folder, runner_libraries())
    for name in RUNNER_LIBRARIES:
        for path, source in _installed_files(name):
            if path.parts[0].endswith(".dist-info"):
                if path.name.upper().startswith(("LICEN", "NOTICE")):
                    _copy(source, folder / "licenses" / name / path.name)
            elif not _left_out(path):
                _copy(source, folder / "python" / path)


def _installed_files(name: str) -> Iterator[tuple[PurePosixPath, Path]]:
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        raise RuntimeError(f"{name} is not installed: run `pip install -r requirements.txt`") from None
    for file in sorted(installed.files or (), key=str):
        if ".." not in file.parts:  # programs for the command line are recorded as ../../../bin/…
            yield PurePosixPath(str(file)), Path(str(installed.locate_file(file)))


def _left_out(path: PurePosixPath) -> bool:
    if path.suffix in (".pyc", ".pyi") or any(part in _LEFT_OUT_FOLDERS for part in path.parts):
        return True
    match path.parts:
        case ("botocore" | "boto3", "data", service, _, *_):
            return service not in AWS_SERVICES or path.name.startswith("examples-")
        case _:
            return False


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _cfn_layer(layer: lambda_.LayerVersion) -> lambda_.CfnLayerVersion:
    child = layer.node.default_child
    if not isinstance(child, lambda_.CfnLayerVersion):
        raise TypeError(f"a layer's resource is {child!r}")
    return child
