"""The rules about image functions, which AWS Lambda treats differently from zip functions."""

from __future__ import annotations

import re
from typing import Final

from fdl_schemas.build import FunctionEntry
from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.reading.findings import Findings

_ECR: Final = re.compile(
    r"\d{12}\.dkr\.ecr(-fips)?\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/[^:@]+(:[^@]+|@sha256:\w+)"
)


def check_image_function(entry: FunctionEntry, findings: Findings) -> None:
    """Checks that an image function has no layers, and that a ready image is in Amazon ECR.

    Source: AWS Lambda developer guide, "Create a Lambda function using a container image": functions defined
    as container images take no layers, and their image is in a private repository of Amazon ECR.
    """
    function = entry.function
    if not findings.is_whole(entry.at("lambda", "runtime")):
        return
    if function.is_image_function and function.layer_arns:
        findings.error(
            "FDL042",
            "an image function cannot have layers",
            entry.at("lambda", "layers"),
            expected="no `layers`, or `runtime: python3.13`",
            help="copy the layer's files into the image, or set `runtime: python3.13`",
            on_key=True,
        )
    image = function.container.image
    if (
        not function.container.create_image
        and findings.is_whole(entry.at("lambda", "container"))
        and _ECR.fullmatch(image or "") is None
    ):
        findings.error(
            "FDL042",
            f"the image {quoted(image)} is not in Amazon ECR" if image else "an archive is not in Amazon ECR",
            entry.at("lambda", "container", "image" if image else "image_file"),
            expected="`ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG` with `create_image: false`",
            help="push the image to ECR, or remove `create_image` to have an image assembled",
        )
