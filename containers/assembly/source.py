"""The user's image at its source: in a registry (or a mirror), or in an archive.

This module checks everything that is known before a layer is read: which manifest of an index fits, that it
is a container image for Linux and this architecture, and that its layers are supported or can be converted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from containers.assembly.errors import rejected
from containers.errors import ErrorKind, ExplainedError
from containers.image.manifests import (
    MAXIMUM_DOCUMENT_BYTES,
    broken,
    parse_config,
    parse_descriptor,
    parse_document,
)
from containers.image.origin import FoundImage, Layer, find_image
from containers.registry.mirrors import Place, places_for
from containers.registry.ranges import FileSource, RangeSource
from containers.registry.references import parse_reference
from containers.store.archive import find_in_archive, s3_archive
from containers.store.pull import Log, ask_in_turn

MAXIMUM_LAYERS = 127
"""The maximum that Docker's overlay driver can mount; ECR and Lambda document no number."""

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
class SourceImage:
    """The user's image: the digest that it is stored by, its configuration (a JSON object), its layers."""

    what: str
    digest: str
    config: Mapping[str, Any]
    layers: tuple[Layer, ...]


@contextlib.contextmanager
def open_reference(
    reference: str, architecture: str, *, mirrors: str = "", registry_credentials: str | None = None, log: Log
) -> Iterator[SourceImage]:
    """The image of that name from the first place that has it (`containers.registry.mirrors`)."""
    parsed = parse_reference(reference)
    what = f"image {parsed}"
    with contextlib.ExitStack() as stack:

        def ask(place: Place) -> SourceImage:
            with contextlib.ExitStack() as attempt:
                blobs = attempt.enter_context(contextlib.closing(place.open()))
                found = _checked(find_image(blobs, parsed.version, architecture, what), architecture, what)
                stack.push(attempt.pop_all())
                return found

        yield ask_in_turn(places_for(parsed, mirrors, registry_credentials), ask, log)


@contextlib.contextmanager
def open_archive(address: str, architecture: str) -> Iterator[SourceImage]:
    """The image in an archive (`docker save`, or an OCI layout in a tar) at `s3://bucket/key`, or in a
    file."""
    what = f"image archive {address}"
    with contextlib.ExitStack() as stack:
        source: RangeSource
        if address.startswith("s3://"):
            source = s3_archive(address, what)
        else:
            try:
                source = FileSource(stack.enter_context(Path(address).open("rb")).fileno())
            except OSError as error:
                raise ExplainedError(
                    f"{what} cannot be read: {error.strerror}",
                    advice="Check its path",
                    kind=ErrorKind.IMAGE_NOT_FOUND,
                ) from error
        yield _checked(find_in_archive(source, architecture, what), architecture, what)


def _checked(found: FoundImage, architecture: str, what: str) -> SourceImage:
    """The image, if it is one that can be assembled. Raises ExplainedError."""
    if found.manifest:
        _check_types(found.manifest, what)
    raw = found.read_config()
    parse_config(raw, architecture, what)
    if not found.layers:
        raise broken(f"{what} has no layers, so there is nothing to run")
    if len(found.layers) + OUR_LAYERS > MAXIMUM_LAYERS:
        raise rejected(
            f"{what} has {len(found.layers)} layers; the maximum is "
            f"{MAXIMUM_LAYERS - OUR_LAYERS}, because the runner adds up to {OUR_LAYERS}",
            "Build the image with fewer steps, or squash it (docker build --squash, crane flatten)",
        )
    config = parse_document(raw, f"the configuration of {what}")
    return SourceImage(what, found.digest, config, found.layers)


def _check_types(document: Mapping[str, Any], what: str) -> None:
    """Check that it is a container image, and that the registry has all of its layers."""
    size, config_type = document["config"]["size"], str(document["config"].get("mediaType", ""))
    if config_type not in _CONFIG_TYPES or document.get("artifactType"):
        raise rejected(
            f"{what} is not a container image: it is a {document.get('artifactType') or config_type}",
            "Set container.image to a container image",
            ErrorKind.BAD_IMAGE,
        )
    for entry in document["layers"]:
        layer = parse_descriptor(entry, f"a layer of {what}")
        if entry.get("urls") or "foreign" in layer.media_type or "nondistributable" in layer.media_type:
            raise rejected(
                f"layer {layer.digest} of {what} is stored outside the registry (a foreign layer), "
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
                "Set container.image to a container image, and decrypt an encrypted image first",
                ErrorKind.BAD_IMAGE,
            )
    if size > MAXIMUM_DOCUMENT_BYTES:
        raise rejected(
            f"the configuration of {what} has {size} bytes; the maximum is {MAXIMUM_DOCUMENT_BYTES}",
            "Build the image with fewer labels, variables and steps",
        )
