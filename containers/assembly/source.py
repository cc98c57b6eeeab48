"""The user's image at its source: in a registry (or a mirror), or in an archive.

This module checks everything that is known before a layer is read: which manifest of an index fits, that it
is a container image for Linux and this architecture, and that its layers are supported or can be converted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from containers.assembly.errors import rejected
from containers.errors import ErrorKind, ExplainedError
from containers.image.manifests import (
    MAXIMUM_DOCUMENT_BYTES,
    Descriptor,
    broken,
    check_digest,
    choose_platform,
    is_digest,
    is_index,
    parse_config,
    parse_document,
    parse_manifest,
)
from containers.image.origin import BlobStore, ByteStream, read_all
from containers.registry.mirrors import places_for
from containers.registry.ranges import FileSource, RangeSource, S3Object
from containers.registry.references import parse_reference
from containers.store.archive_contents import ArchiveMembers, OciArchive, docker_save_image, plain_archive

MAXIMUM_LAYERS = 127
"""What Docker's overlay driver can mount; ECR and Lambda document no number of their own."""

OUR_LAYERS = 3
"""Corrections, runner, function."""

_CONFIG_TYPES = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "",
)
_LAYER_TYPES = (
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
)
_COMPRESSIONS = ("", "+gzip", ".gzip", "+zstd", ".zstd")


@dataclass(frozen=True)
class SourceLayer:
    """A layer as it is stored. `digest` is None where only that of its content is known (docker-save
    archives)."""

    digest: str | None
    size: int
    open: Callable[[], ByteStream]
    diff_id: str | None

    def __str__(self) -> str:
        """As messages name it."""
        return f"layer {self.digest or self.diff_id}"

    @property
    def key(self) -> str:
        """What tells it from others."""
        return self.digest or f"{self.diff_id}"


@dataclass(frozen=True)
class SourceImage:
    """The user's image: the digest that it is stored by, its configuration (a JSON object), its layers."""

    what: str
    digest: str
    config: Mapping[str, Any]
    layers: tuple[SourceLayer, ...]


@contextlib.contextmanager
def open_reference(
    reference: str, architecture: str, *, mirrors: str = "", registry_credentials: str | None = None
) -> Iterator[SourceImage]:
    """The image of that name from the first place that has it (`containers.registry.mirrors`)."""
    parsed = parse_reference(reference)
    what = f"image {parsed}"
    failures: list[str] = []
    places = places_for(parsed, mirrors, registry_credentials)
    for place in places:
        with contextlib.ExitStack() as stack:
            try:
                blobs = stack.enter_context(contextlib.closing(place.open()))
                found = _find(blobs, parsed.version, architecture, what)
            except ExplainedError as error:
                if place is places[-1]:
                    raise _with_mirrors(error, failures) from error
                failures.append(f"mirror {place.name}: {error.cause}")
                continue
            yield found
            return


@contextlib.contextmanager
def open_archive(address: str, architecture: str, *, scratch: Path) -> Iterator[SourceImage]:
    """The image in an archive (`docker save`, or an OCI layout in a tar) at `s3://bucket/key`, or in a
    file.

    `scratch` is a folder for a decompressed copy, needed where the whole archive is compressed.
    """
    what = f"image archive {address}"
    with contextlib.ExitStack() as stack:
        source: RangeSource
        if address.startswith("s3://"):
            bucket, _, key = address.removeprefix("s3://").partition("/")
            source = S3Object(bucket, key, what)
        else:
            try:
                source = FileSource(stack.enter_context(Path(address).open("rb")).fileno())
            except OSError as error:
                raise ExplainedError(
                    f"{what} cannot be read: {error.strerror}",
                    advice="Check its path",
                    kind=ErrorKind.IMAGE_NOT_FOUND,
                ) from error
        members = ArchiveMembers(stack.enter_context(plain_archive(source, scratch, what)), what)
        if "manifest.json" in members:
            yield _from_docker_save(members, architecture, what)
        elif "index.json" in members:
            yield _find(OciArchive(members, what), "latest", architecture, what)
        else:
            raise broken(
                f"{what} is not an image: it has neither manifest.json (docker save) nor index.json (OCI)"
            )


def _find(blobs: BlobStore, version: str, architecture: str, what: str) -> SourceImage:
    content, media_type, digest = _manifest(blobs, version, what)
    document = parse_document(content, f"the manifest of {what}")
    if is_index(document, media_type):
        chosen = choose_platform(document, architecture, what)
        content, media_type, digest = _manifest(blobs, chosen.digest, what)
        document = parse_document(content, f"the manifest of {what}")
        if is_index(document, media_type):  # an index of indexes could be made endless
            raise broken(f"the index of {what} points to another index")
    manifest = parse_manifest(document, digest, media_type, what)
    _check_types(document, manifest.layers, what)
    if manifest.config.size > MAXIMUM_DOCUMENT_BYTES:
        raise rejected(
            f"the configuration of {what} has {manifest.config.size} bytes; the maximum is "
            f"{MAXIMUM_DOCUMENT_BYTES}",
            "Build the image with fewer labels, variables and steps",
        )
    raw = read_all(blobs.open_blob(manifest.config))
    config, diff_ids = _read_config(raw, architecture, what)
    layers = tuple(
        SourceLayer(
            layer.digest,
            layer.size,
            lambda descriptor=layer: blobs.open_blob(descriptor),  # type: ignore[misc]
            diff_ids[number] if len(diff_ids) == len(manifest.layers) else None,
        )
        for number, layer in enumerate(manifest.layers)
    )
    return _checked(SourceImage(what, digest, config, layers))


def _manifest(blobs: BlobStore, version: str, what: str) -> tuple[bytes, str, str]:
    content, media_type = blobs.read_manifest(version)
    if is_digest(version):
        check_digest(content, version, f"the manifest of {what}")
        return content, media_type, version
    return content, media_type, f"sha256:{hashlib.sha256(content).hexdigest()}"


def _from_docker_save(members: ArchiveMembers, architecture: str, what: str) -> SourceImage:
    found = docker_save_image(members, architecture, what)
    name = str(json.loads(members.read_document("manifest.json"))[0]["Config"])
    config, _ = _read_config(members.read_document(name), architecture, what)
    layers = tuple(SourceLayer(None, layer.size, layer.open, layer.diff_id) for layer in found.layers)
    return _checked(SourceImage(what, found.digest, config, layers))


def _read_config(raw: bytes, architecture: str, what: str) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    _, diff_ids = parse_config(raw, architecture, what)
    return parse_document(raw, f"the configuration of {what}"), diff_ids


def _check_types(document: Mapping[str, Any], layers: tuple[Descriptor, ...], what: str) -> None:
    """Check that it is a container image, and that the registry has all of its layers."""
    config_type = str(document["config"].get("mediaType", ""))
    if config_type not in _CONFIG_TYPES or document.get("artifactType"):
        raise rejected(
            f"{what} is not a container image: it is a {document.get('artifactType') or config_type}",
            "Name a container image in container.image",
            ErrorKind.BAD_IMAGE,
        )
    for layer, entry in zip(layers, document["layers"], strict=True):
        if entry.get("urls") or "foreign" in layer.media_type or "nondistributable" in layer.media_type:
            raise rejected(
                f"layer {layer.digest} of {what} is stored outside of the registry (a foreign layer), "
                "which AWS Lambda and Amazon ECR do not support",
                "Push the image with all of its layers (dockerd: allow-nondistributable-artifacts)",
            )
        base = layer.media_type
        for ending in _COMPRESSIONS[1:]:
            base = base.removesuffix(ending)
        if base not in _LAYER_TYPES and layer.media_type:
            raise rejected(
                f"layer {layer.digest} of {what} has the media type {layer.media_type}: it is not a layer "
                f"of a container image",
                "Name a container image in container.image, and decrypt an encrypted image first",
                ErrorKind.BAD_IMAGE,
            )


def _checked(image: SourceImage) -> SourceImage:
    if not image.layers:
        raise broken(f"{image.what} has no layers, so there is nothing to run")
    if len(image.layers) + OUR_LAYERS > MAXIMUM_LAYERS:
        raise rejected(
            f"{image.what} has {len(image.layers)} layers; the maximum is "
            f"{MAXIMUM_LAYERS - OUR_LAYERS}, because the runner adds up to {OUR_LAYERS}",
            "Build the image with fewer steps, or squash it (docker build --squash, crane flatten)",
        )
    return dataclasses.replace(image, config=dict(image.config))


def _with_mirrors(error: ExplainedError, failures: list[str]) -> ExplainedError:
    """The error of the registry, followed by those of the mirrors."""
    if not failures:
        return error
    told = f"{error.cause} (tried before: {'; '.join(failures)})"
    return ExplainedError(told, advice=error.advice, kind=error.kind)
