"""Images by their names in functions and jobs: `ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME…`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from local_cloud.ecr.store import RepositoryKey, RepositoryStore

_URI = re.compile(
    r"(?P<registry>(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?)/"
    r"(?P<name>[a-z0-9][a-z0-9._/-]*)(?::(?P<tag>[A-Za-z0-9_][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


class ImageNotUsableError(Exception):
    """The image does not exist, or not in a form that can be run; the text is AWS's."""


@dataclass(frozen=True)
class EcrReference:
    """The parts of the URI of an image in ECR."""

    repository_uri: str
    key: RepositoryKey
    version: str
    """Digest or tag."""

    def with_digest(self, digest: str) -> str:
        """The URI of this repository's image with another digest."""
        return f"{self.repository_uri}@{digest}"


def parse_uri(uri: str) -> EcrReference | None:
    """The parts of the URI of an image in ECR, or None for an image of another registry."""
    found = _URI.fullmatch(uri)
    if found is None:
        return None
    key = RepositoryKey(found["account"], found["region"], found["name"])
    version = found["digest"] or found["tag"] or "latest"
    return EcrReference(f"{found['registry']}/{found['name']}", key, version)


def lambda_image_digest(store: RepositoryStore, uri: str) -> str:
    """The digest of a function's image, which is given by tag or digest.

    Raises:
        ImageNotUsableError: it does not exist, or Lambda would reject it: an index, layers that are not gzip.
    """
    reference = parse_uri(uri)
    if reference is None:
        raise ImageNotUsableError(f"Source image {uri} is not valid. Provide a valid source image.")
    repository = store.repository(reference.key)
    image = repository.find(reference.version) if repository else None
    if repository is None or image is None:
        raise ImageNotUsableError(f"Source image {uri} does not exist. Provide a valid source image.")
    if not repository.parsed(image).runs_on_lambda:
        raise ImageNotUsableError(
            f"The image manifest, config or layer media type for the source image {uri} is not supported."
        )
    return image.digest
