"""Manifests that ECR accepts: their references, the size of the image, and whether Lambda can run it.

Sources: OCI image-spec 1.1 (manifest.md, image-index.md), Docker's image manifest version 2 schema 2.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

MAXIMUM_BYTES = 4 << 20
"""Of a manifest; larger ones are rejected, as by ECR and other registries."""
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_LAMBDA_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
_LAMBDA_LAYERS = (
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class InvalidManifestError(Exception):
    """A manifest is invalid; the text contains the reason."""


@dataclass(frozen=True)
class CheckedManifest:
    """A manifest or an index that has been checked."""

    media_type: str
    blobs: tuple[str, ...] = ()
    """Digests of the configuration and the layers that the repository must contain."""
    manifests: tuple[str, ...] = ()
    """Digests of the manifests that an index names."""
    size: int = 0
    """Bytes of configuration and layers, as they are stored."""
    artifact_type: str = ""
    runs_on_lambda: bool = False
    """Lambda accepts the manifest, configuration and layer media types."""


def parse_manifest(content: bytes, media_type: str) -> CheckedManifest:
    """The manifest in `content`, which was pushed as `media_type`.

    Raises:
        InvalidManifestError: it is malformed, or of a kind that ECR rejects.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidManifestError("manifest is not JSON") from error
    if not isinstance(document, dict) or document.get("schemaVersion") != 2:  # noqa: PLR2004
        raise InvalidManifestError("manifest is not of schema version 2")
    declared = document.get("mediaType") or media_type.partition(";")[0].strip()
    if media_type and declared != media_type.partition(";")[0].strip():
        raise InvalidManifestError(f"manifest says '{declared}', but was pushed as '{media_type}'")
    if declared in _INDEXES:
        entries = [_descriptor(entry) for entry in _list(document, "manifests")]
        return CheckedManifest(declared, manifests=tuple(digest for digest, _, _ in entries))
    if declared not in (_OCI_MANIFEST, DOCKER_MANIFEST):
        raise InvalidManifestError(f"media type '{declared}' is not supported")
    config = _descriptor(document.get("config"))
    layers = [_descriptor(entry) for entry in _list(document, "layers")]
    return CheckedManifest(
        declared,
        # Foreign layers are stored elsewhere, at their `urls`.
        tuple(digest for digest, _, kind in (config, *layers) if "foreign" not in kind),
        size=sum(size for _, size, _ in (config, *layers)),
        artifact_type=document.get("artifactType") or config[2],
        runs_on_lambda=config[2] in _LAMBDA_CONFIGS and all(kind in _LAMBDA_LAYERS for _, _, kind in layers),
    )


def is_digest(text: str) -> bool:
    """Whether `text` is a digest of the one kind that ECR knows; it is safe as a file name then."""
    return _DIGEST.fullmatch(text) is not None


def _list(document: dict[str, Any], key: str) -> list[Any]:
    entries = document.get(key)
    if not isinstance(entries, list):
        raise InvalidManifestError(f"manifest has no list '{key}'")
    return entries


def _descriptor(entry: object) -> tuple[str, int, str]:
    """Digest, size, media type."""
    if isinstance(entry, dict):
        digest, size, kind = entry.get("digest"), entry.get("size"), entry.get("mediaType", "")
        if isinstance(digest, str) and is_digest(digest) and type(size) is int and isinstance(kind, str):
            return digest, size, kind
    raise InvalidManifestError("manifest contains an invalid descriptor")
