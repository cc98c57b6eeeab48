"""An image in ECR as AWS Lambda's code."""

from __future__ import annotations

from aws_cdk import aws_lambda as lambda_
from constructs import Construct


class ImageCode(lambda_.Code):
    """An image whose URI, with its digest, is known when the stack is deployed.

    `Code.from_ecr_image` would treat a digest that is not known yet as a tag.

    :param uri: `REGISTRY/REPOSITORY@sha256:…`.
    """

    def __init__(self, uri: str) -> None:
        super().__init__()
        self._uri = uri

    @property
    def is_inline(self) -> bool:
        """Never: the template contains no code."""
        return False

    def bind(self, scope: Construct) -> lambda_.CodeConfig:
        """Called by the CDK when the function is created."""
        return lambda_.CodeConfig(image=lambda_.CodeImageConfig(image_uri=self._uri))
