"""Records for later assemblies in the target repository itself. They need no other storage, and are deleted
with the images.

| tag | content | purpose |
|---|---|---|
| `layer-…` | a layer's report | an existing layer is neither read nor uploaded again |
| `base-…` | the user's image, corrected | a changed script or runner needs no other registry |
| `runner-…` | the runner layer | it is packed and uploaded once for each interpreter |
| `FUNCTION-…` | an assembled image | registries remove what has no tag |

The end of a tag is the digest of the inputs of the content; tags are never moved (so that ECR's tags may be
immutable). All are OCI manifests that reference their layers, so that a registry keeps those.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from containers.assembly.layer_report import LayerReport
from containers.assembly.target import TargetRepository
from containers.errors import ErrorKind, ExplainedError
from containers.image.manifests import Descriptor, parse_document, parse_manifest
from containers.image.origin import read_all

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_REPORT_TYPE = "application/vnd.scar.layer.report.v1+gzip"
_TAG_CHARACTERS = 40
_VERSION = 1  # of all records; others are not found


@dataclass(frozen=True)
class RecordedImage:
    """An image in the target: its configuration as a JSON object, its layers, the manifest's
    annotations."""

    config: Mapping[str, Any]
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]


class Records:
    """The records in one repository."""

    def __init__(self, target: TargetRepository) -> None:
        self._target = target

    def find_layer(self, key: str) -> LayerReport | None:
        """The report on the layer of that digest."""
        found = self._read(_tag("layer", key))
        if found is None:
            return None
        try:
            report = LayerReport.from_json(gzip.decompress(found[0]))
        except (ValueError, KeyError, TypeError, OSError, EOFError):
            return None
        if self._target.blob_size(report.descriptor.digest) != report.descriptor.size:
            return None
        return report

    def keep_layer(self, key: str, report: LayerReport) -> None:
        """Remember the report; the layer must be there."""
        content = gzip.compress(report.to_json(), 6, mtime=0)
        config = self._target.put_blob(content, _REPORT_TYPE)
        self._put(_tag("layer", key), config, [report.descriptor], {})

    def find_image(self, kind: str, key: str) -> RecordedImage | None:
        """The image that is recorded under this kind and key, if all of its layers still exist."""
        found = self._read(_tag(kind, key))
        if found is None:
            return None
        content, document = found
        layers = parse_manifest(document, "", MANIFEST_TYPE, f"the record {kind}").layers
        annotations = document.get("annotations")
        config = parse_document(content, f"the record {kind}")
        return RecordedImage(config, layers, annotations if isinstance(annotations, dict) else {})

    def keep_image(self, kind: str, key: str, image: RecordedImage) -> None:
        """Remember an image; its layers must be there."""
        content = json.dumps(image.config, separators=(",", ":")).encode()
        config = self._target.put_blob(content, CONFIG_TYPE)
        self._put(_tag(kind, key), config, image.layers, image.annotations)

    def _read(self, tag: str) -> tuple[bytes, Mapping[str, Any]] | None:
        manifest = self._target.find_manifest(tag)
        if manifest is None:
            return None
        document = parse_document(manifest, f"the record {tag}")
        config = parse_manifest(document, "", MANIFEST_TYPE, f"the record {tag}").config
        try:
            return read_all(self._target.open_blob(config)), document
        except ExplainedError as error:
            if error.kind == ErrorKind.BAD_IMAGE:
                return None  # the blob was removed: as if it had never existed
            raise

    def _put(
        self, tag: str, config: Descriptor, layers: Sequence[Descriptor], annotations: Mapping[str, str]
    ) -> None:
        self._target.put_manifest(tag, manifest_of(config, layers, annotations), MANIFEST_TYPE)


def manifest_of(
    config: Descriptor, layers: Sequence[Descriptor], annotations: Mapping[str, str] | None = None
) -> bytes:
    """An OCI manifest: everything in it has OCI's media types, regardless of the original image."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _to_json(config),
        "layers": [_to_json(layer) for layer in layers],
    }
    if annotations:
        document["annotations"] = dict(annotations)
    return json.dumps(document, separators=(",", ":")).encode()


def _to_json(descriptor: Descriptor) -> Mapping[str, object]:
    return {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}


def _tag(kind: str, key: str) -> str:
    return f"{kind}-{hashlib.sha256(f'{_VERSION} {key}'.encode()).hexdigest()[:_TAG_CHARACTERS]}"
