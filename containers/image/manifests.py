"""The documents of an image in a registry or an archive: index, manifest, configuration.

Two families with the same shape are understood: OCI (image-spec 1.1) and Docker schema 2. An index (Docker:
manifest list) names one manifest per platform; a manifest names the configuration and the layers by digest.
All of it is untrusted: sizes are bounded, types are checked, and content must match its digest.
"""

from __future__ import annotations

import hashlib
import platform as machine
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from containers.bounded_json import JsonError, read_json
from containers.errors import ErrorKind, ExplainedError
from containers.image.config import ImageConfig

MAXIMUM_DOCUMENT_BYTES = 4 * 1024 * 1024  # as containerd and docker bound them: a manifest must fit in memory
_MAXIMUM_BLOB_BYTES = 1 << 40  # twenty times the largest layer that Amazon ECR accepts
MAXIMUM_LAYERS = 1000
"""Docker itself stops at 127."""

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_SCHEMA1_TYPES = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
_BUILD_FOR_THIS = (
    "Build the image for this architecture (docker buildx build --platform), or change the function's"
)
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Descriptor:
    """A piece of content by digest: `size` in bytes as stored (compressed)."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """One platform's image: its own digest, its configuration, its layers from the bottom up."""

    digest: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


def host_architecture() -> str:
    """This machine's architecture in OCI's words: `amd64` or `arm64`."""
    name = machine.machine()
    return _MACHINES.get(name.lower(), name.lower())


def check_digest(content: bytes, digest: str, what: str) -> None:
    """Raise ExplainedError (kind `DigestMismatch`) unless `content` hashes to `digest`."""
    algorithm, _, expected = digest.partition(":")
    if algorithm not in ("sha256", "sha512"):
        raise broken(f"{what} has an unknown kind of digest, '{algorithm}'")
    found = hashlib.new(algorithm, content).hexdigest()
    if found != expected:
        raise ExplainedError(
            f"{what} is damaged: expected {digest}, received {algorithm}:{found}",
            advice="Try again. If the error persists, the registry or mirror serves wrong data: push the "
            "image again",
            kind=ErrorKind.DIGEST_MISMATCH,
        )


def parse_document(content: bytes, what: str) -> Mapping[str, Any]:
    """The JSON object in `content`; ExplainedError (kind `BadImage`) if it is not one."""
    if len(content) > MAXIMUM_DOCUMENT_BYTES:
        raise broken(f"{what} is larger than {MAXIMUM_DOCUMENT_BYTES} bytes")
    try:
        document = read_json(content, longest_bytes=MAXIMUM_DOCUMENT_BYTES)
    except JsonError as error:
        raise broken(f"{what} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise broken(f"{what} is not a JSON object")
    return document


def is_index(document: Mapping[str, Any], media_type: str) -> bool:
    """Whether `document` is an index of manifests (its own mediaType counts before the server's word)."""
    declared = document.get("mediaType") or media_type.partition(";")[0].strip()
    return declared in INDEX_TYPES or ("manifests" in document and "layers" not in document)


def parse_manifest(document: Mapping[str, Any], digest: str, media_type: str, what: str) -> Manifest:
    """The manifest in `document`, checked; ExplainedError for schema 1 and for anything other than a
    container image."""
    declared = document.get("mediaType") or media_type.partition(";")[0].strip()
    if declared in _SCHEMA1_TYPES or document.get("schemaVersion") == 1:
        raise ExplainedError(
            f"{what} is stored in Docker's manifest schema 1, which was deprecated in 2019",
            advice="Push it again with a current docker, podman or skopeo",
            kind=ErrorKind.UNSUPPORTED_IMAGE,
        )
    layers = document.get("layers")
    if not isinstance(layers, list) or "config" not in document:
        raise broken(f"{what} has no configuration and layers: it is not a container image")
    if len(layers) > MAXIMUM_LAYERS:
        raise broken(f"{what} has {len(layers)} layers; the maximum is {MAXIMUM_LAYERS}")
    descriptors = tuple(parse_descriptor(layer, f"a layer of {what}") for layer in layers)
    return Manifest(digest, parse_descriptor(document["config"], f"the configuration of {what}"), descriptors)


def parse_descriptor(value: object, what: str) -> Descriptor:
    """One descriptor of a manifest or index, checked."""
    if not isinstance(value, dict):
        raise broken(f"the entry for {what} is not an object")
    digest, size, media_type = value.get("digest"), value.get("size"), value.get("mediaType", "")
    if not isinstance(digest, str) or not is_digest(digest):
        raise broken(f"{what} has no valid digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MAXIMUM_BLOB_BYTES:
        raise broken(f"{what} has no valid size")
    return Descriptor(media_type if isinstance(media_type, str) else "", digest, size)


def is_digest(text: str) -> bool:
    """Whether `text` is a digest that is safe to use in a URL or a file name (no `/`, no `..`)."""
    algorithm, _, value = text.partition(":")
    lengths = {"sha256": 64, "sha512": 128}
    return len(value) == lengths.get(algorithm) and all(c in "0123456789abcdef" for c in value)


def choose_platform(index: Mapping[str, Any], architecture: str, what: str) -> Descriptor:
    """The descriptor in `index` for Linux on `architecture` (`amd64`, `arm64`, or with a variant:
    `arm64/v8`).

    Raises ExplainedError (kind `WrongArchitecture`) naming the platforms that the image does have.
    """
    wanted, _, variant = architecture.partition("/")
    entries = index.get("manifests")
    if not isinstance(entries, list):
        raise broken(f"the index of {what} lists no manifests")
    matches: list[tuple[int, Descriptor]] = []
    available: list[str] = []
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        platform = entry.get("platform")
        # An index of one image may leave it out; it is checked later in the configuration.
        if not isinstance(platform, dict):
            platform = {"os": "linux", "architecture": wanted} if len(entries) == 1 else {}
        has = str(platform.get("variant") or "")
        if platform.get("os") not in ("unknown", None):
            available.append(
                "/".join(str(platform.get(k)) for k in ("os", "architecture")) + (f"/{has}" if has else "")
            )
        if platform.get("os") != "linux" or platform.get("architecture") != wanted:
            continue
        if variant and has and has != variant:
            continue
        matches.append(
            (_variant_rank(wanted, variant, has), parse_descriptor(entry, f"a manifest of {what}"))
        )
    if not matches:
        known = ", ".join(sorted(set(available))) or "nothing"
        raise ExplainedError(
            f"{what} has no version for linux/{architecture}, only for {known}",
            advice=_BUILD_FOR_THIS,
            kind=ErrorKind.WRONG_ARCHITECTURE,
        )
    return min(matches, key=lambda match: match[0])[1]


def parse_config(content: bytes, architecture: str, what: str) -> tuple[ImageConfig, tuple[str, ...]]:
    """The run-time configuration in the image's configuration `content`, and its layers' diff ids.

    Raises ExplainedError if it is for another operating system or architecture.
    """
    document = parse_document(content, f"the configuration of {what}")
    system, built_for = document.get("os"), document.get("architecture")
    wanted = architecture.partition("/")[0]
    if (system and system != "linux") or (built_for and built_for != wanted):
        raise ExplainedError(
            f"{what} is built for {system or 'linux'}/{built_for}, this function runs on linux/{wanted}",
            advice=_BUILD_FOR_THIS,
            kind=ErrorKind.WRONG_ARCHITECTURE,
        )
    config = document.get("config") or {}
    rootfs = document.get("rootfs") or {}
    if not isinstance(config, dict) or not isinstance(rootfs, dict):
        raise broken(f"the configuration of {what} is malformed")
    parsed = ImageConfig(
        env=_strings(config.get("Env"), what),
        entrypoint=_strings(config.get("Entrypoint"), what),
        cmd=_strings(config.get("Cmd"), what),
        working_dir=_string(config.get("WorkingDir"), what),
        user=_string(config.get("User"), what),
    )
    return parsed, _strings(rootfs.get("diff_ids"), what)


def broken(cause: str) -> ExplainedError:
    """The error for content that breaks the image format."""
    return ExplainedError(cause, advice="Build and push the image again", kind=ErrorKind.BAD_IMAGE)


def _variant_rank(architecture: str, wanted: str, has: str) -> int:
    """Sort key, best first: the requested variant, then the baseline that every machine of the architecture
    can run."""
    if has == wanted:
        return 0
    baseline = {"arm64": "v8", "amd64": "v1"}.get(architecture, "")
    return 1 if has in ("", baseline) else 2


def _strings(value: object, what: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise broken(f"the configuration of {what} is malformed: expected a list of strings")
    return tuple(value)


def _string(value: object, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise broken(f"the configuration of {what} is malformed: expected a string")
    return value
