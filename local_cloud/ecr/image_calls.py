"""ECR's API calls about images, on the stored images.

The emulator keeps repositories, their settings and policies, but images only in memory and without layers.
The calls here replace its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import ecr

from local_cloud.ecr import api
from local_cloud.ecr.api import CallFailed, Record, failure, key_of
from local_cloud.ecr.lifecycle import check_policy
from local_cloud.ecr.repository import Repository, StoredImage
from local_cloud.ecr.store import RepositoryStore
from local_cloud.patches import Original, replaces

_NAME = re.compile(r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*")
_NAME_LENGTHS = range(2, 257)


def install(store: RepositoryStore) -> None:
    """Replace the emulator's calls, and take part in restoring and resetting its state."""
    calls = (list_images, describe_images, put_image, batch_get_image, batch_delete_image)
    api.install(store, {f"_{call.__name__}": call for call in calls})

    @replaces(ecr, "_create_repository")
    def create_repository(create: Original, request: Record) -> Any:
        name = request.get("repositoryName", "")
        if len(name) not in _NAME_LENGTHS or not _NAME.fullmatch(name):
            return failure(
                "InvalidParameterException",
                "Invalid parameter at 'repositoryName' failed to satisfy constraint: "
                f"'must satisfy regular expression '{_NAME.pattern}''",
            )
        if name not in ecr._repositories:
            store.remove(key_of(name))  # of a repository that a killed cloud has forgotten
        return create(request)

    @replaces(ecr, "_delete_repository")
    def delete_repository(delete: Original, request: Record) -> Any:
        name = request.get("repositoryName", "")
        repository = store.repository(key_of(name))
        if repository is not None and repository.images() and not request.get("force"):
            return failure(
                "RepositoryNotEmptyException",
                f"The repository with name '{name}' in registry with id '{get_account_id()}' cannot be "
                "deleted because it still contains images",
            )
        answer = delete(request)
        if repository is not None:
            store.remove(key_of(name))
        return answer

    @replaces(ecr, "_put_lifecycle_policy")
    def put_lifecycle_policy(put_policy: Original, request: Record) -> Any:
        try:
            check_policy(request.get("lifecyclePolicyText", ""))
        except ValueError as error:
            return failure("InvalidParameterException", f"Lifecycle policy validation failure: {error}")
        return put_policy(request)

    @replaces(ecr, "reset")
    def reset_all(reset: Original) -> None:
        reset()
        store.clear()


def list_images(repository: Repository, request: Record) -> Record:
    """ListImages: an entry for each tag, and one for each image without tags."""
    found = [
        {"imageDigest": image.digest, **({"imageTag": tag} if tag else {})}
        for image in _filtered(repository.images(), request)
        for tag in image.tags or [""]
    ]
    return _page(request, "imageIds", found)


def describe_images(repository: Repository, request: Record) -> Record:
    """DescribeImages: the requested ones, or all."""
    images = repository.images()
    if identities := request.get("imageIds"):
        images = []
        for identity in identities:
            image = repository.find(_reference(identity))
            if image is None:
                raise CallFailed(
                    "ImageNotFoundException",
                    f"The image with imageId {_shown(identity)} does not exist within the repository "
                    f"with name '{repository.name}' in the registry with id '{get_account_id()}'",
                )
            if image not in images:
                images.append(image)
    return _page(
        request, "imageDetails", [_detail(repository, image) for image in _filtered(images, request)]
    )


def _detail(repository: Repository, image: StoredImage) -> Record:
    manifest = repository.parsed(image)
    return {
        "registryId": get_account_id(),
        "repositoryName": repository.name,
        "imageDigest": image.digest,
        **({"imageTags": list(image.tags)} if image.tags else {}),
        "imageSizeInBytes": manifest.size,
        "imagePushedAt": image.pushed_at_ms / 1000,
        "imageManifestMediaType": image.media_type,
        **({"artifactMediaType": manifest.artifact_type} if manifest.artifact_type else {}),
    }


def put_image(repository: Repository, request: Record) -> Record:
    """PutImage."""
    content = str(request.get("imageManifest", "")).encode()
    settings = ecr._repositories[repository.name]
    image = repository.put_image(
        content,
        request.get("imageManifestMediaType", ""),
        request.get("imageTag"),
        immutable=settings.get("imageTagMutability") == "IMMUTABLE",
    )
    if request.get("imageDigest", image.digest) != image.digest:
        raise CallFailed(
            "ImageDigestDoesNotMatchException", f"The digest of the image manifest is {image.digest}"
        )
    return {"image": _image(repository, image, request.get("imageTag"))}


def batch_get_image(repository: Repository, request: Record) -> Record:
    """BatchGetImage: manifests."""
    failures: list[Record] = []
    found = [
        _image(repository, image, identity.get("imageTag"))
        for identity, image in _named(repository, request, failures)
    ]
    return {"images": found, "failures": failures}


def _image(repository: Repository, image: StoredImage, tag: str | None) -> Record:
    return {
        "registryId": get_account_id(),
        "repositoryName": repository.name,
        "imageId": {"imageDigest": image.digest, **({"imageTag": tag} if tag else {})},
        "imageManifest": repository.manifest(image).decode(),
        "imageManifestMediaType": image.media_type,
    }


def batch_delete_image(repository: Repository, request: Record) -> Record:
    """BatchDeleteImage: by digest the image; by tag the tag, and with the last one the image."""
    deleted: list[Record] = []
    failures: list[Record] = []
    for identity, image in _named(repository, request, failures):
        tag = None if identity.get("imageDigest") else identity.get("imageTag")
        goes = tag is None or image.tags == [tag]
        if goes and image.digest in repository.parts_of_indexes():
            reason = "Requested image referenced by manifest list"
            failures.append(_failed(identity, "ImageReferencedByManifestList", reason))
            continue
        deleted += [
            {"imageDigest": image.digest, **({"imageTag": gone} if gone else {})}
            for gone in ([tag] if tag else image.tags or [""])
        ]
        repository.remove(image, tag)
    return {"imageIds": deleted, "failures": failures}


def _reference(identity: Record) -> str:
    return str(identity.get("imageDigest") or identity.get("imageTag") or "")


def _shown(identity: Record) -> str:
    return "{" + ", ".join(f"{key}:'{value}'" for key, value in identity.items()) + "}"


def _named(
    repository: Repository, request: Record, failures: list[Record]
) -> Iterator[tuple[Record, StoredImage]]:
    """The images that a request names, one at a time; those that do not exist are added to `failures`."""
    for identity in request.get("imageIds", []):
        image = repository.find(_reference(identity))
        if image is None:
            failures.append(_failed(identity, "ImageNotFound", "Requested image not found"))
        else:
            yield identity, image


def _failed(identity: Record, code: str, reason: str) -> Record:
    return {"imageId": identity, "failureCode": code, "failureReason": reason}


def _filtered(images: Iterable[StoredImage], request: Record) -> list[StoredImage]:
    status = (request.get("filter") or {}).get("tagStatus", "ANY")
    return [image for image in images if status == "ANY" or (status == "TAGGED") == bool(image.tags)]


def _page(request: Record, key: str, entries: list[Record]) -> Record:
    start = int(request.get("nextToken") or 0)
    end = start + min(int(request.get("maxResults") or 100), 1000)
    more = {"nextToken": str(end)} if end < len(entries) else {}
    return {key: entries[start:end], **more}
