"""Images in a folder in OCI image layout (image-spec 1.1, image-layout.md): a `file://` mirror, no server
needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from containers.errors import ErrorKind, ExplainedError
from containers.image.manifests import (
    MAXIMUM_DOCUMENT_BYTES,
    Descriptor,
    broken,
    is_digest,
    parse_descriptor,
    parse_document,
)
from containers.image.origin import ByteStream, VerifiedStream

REF_NAME = "org.opencontainers.image.ref.name"


class LayoutFolder:
    """The OCI layout in `folder`, of which `what` names the image in messages."""

    def __init__(self, folder: Path, what: str) -> None:
        self._folder = folder
        self._what = what

    def read_manifest(self, version: str) -> tuple[bytes, str]:
        """The manifest for a tag, looked up in index.json, or for a digest."""
        if is_digest(version):
            return self._read(self._blob_path(version)), ""
        path = self._folder / "index.json"
        if not path.is_file():
            raise ExplainedError(
                f"{self._what} does not exist in the mirror: {self._folder} is not an OCI image layout",
                advice="Build the image into this folder, or remove the file:// mirror",
                kind=ErrorKind.IMAGE_NOT_FOUND,
            )
        entry = choose_tag(parse_document(self._read(path), f"{path}"), version, self._what, str(path))
        return self._read(self._blob_path(entry.digest)), entry.media_type

    def open_blob(self, descriptor: Descriptor) -> ByteStream:
        """The blob's file, whose digest is checked while it is read."""
        path = self._blob_path(descriptor.digest)
        try:
            return VerifiedStream(path.open("rb"), descriptor, f"{path}")
        except OSError as error:
            raise self._unreadable(path, error) from error

    def close(self) -> None:
        """Nothing is open."""

    def _blob_path(self, digest: str) -> Path:
        algorithm, _, value = digest.partition(":")
        return self._folder / "blobs" / algorithm / value

    def _read(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                content = file.read(MAXIMUM_DOCUMENT_BYTES + 1)
        except OSError as error:
            raise self._unreadable(path, error) from error
        if len(content) > MAXIMUM_DOCUMENT_BYTES:
            raise broken(f"{path} is larger than {MAXIMUM_DOCUMENT_BYTES} bytes")
        return content

    def _unreadable(self, path: Path, error: OSError) -> ExplainedError:
        missing = isinstance(error, FileNotFoundError)
        return ExplainedError(
            f"{self._what} is incomplete in the mirror: {path} {'is missing' if missing else error.strerror}",
            advice="Build the image into this folder again",
            kind=ErrorKind.IMAGE_NOT_FOUND if missing else ErrorKind.BAD_IMAGE,
        )


def choose_tag(index: Mapping[str, Any], tag: str, what: str, place: str) -> Descriptor:
    """The entry of a layout's index for `tag`; a single entry without a name serves any tag.

    Names may be a bare tag (the specification's way) or a whole reference (as some tools write it).
    """
    entries = index.get("manifests")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise broken(f"{place} lists no manifests")
    names: list[str] = []
    for entry in entries:
        annotations = entry.get("annotations")
        name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
        if isinstance(name, str):
            names.append(name)
            if name == tag or name.rpartition(":")[2] == tag:
                return parse_descriptor(entry, what)
    if len(entries) == 1 and not names:
        return parse_descriptor(entries[0], what)
    known = f"it has {', '.join(sorted(names))}" if names else "its manifests have no names"
    raise ExplainedError(
        f"{what} does not exist in {place}: {known}",
        advice="Use one of these tags in container.image, or add the tag to the layout",
        kind=ErrorKind.IMAGE_NOT_FOUND,
    )
