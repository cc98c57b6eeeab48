"""Images shipped as one file (`container.image_file`), in S3: what `docker save` writes, or an OCI layout in
a tar."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from containers.errors import ErrorKind, ExplainedError
from containers.image.manifests import (
    broken,
)
from containers.image.origin import FoundImage, find_image
from containers.registry.ranges import RangeSource, S3Object
from containers.store.archive_contents import ArchiveMembers, OciArchive, docker_save_image, plain_archive

_MAXIMUM_MEMBERS = 10_000
_WINDOW = 64 * 1024
# Ten thousand members take five megabytes of headers, an image has a few hundred. tarfile holds long names
# and sparse maps in memory.
_MAXIMUM_HEADER_BYTES = 8 << 20
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")


@contextlib.contextmanager
def find_in_s3_archive(uri: str, architecture: str, scratch: Path) -> Iterator[FoundImage]:
    """The image in the archive at `s3://bucket/key`; its layers can be opened until the end of the block.

    `scratch` is a folder for a decompressed copy, should one be needed.
    """
    what = f"image archive {uri}"
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise ExplainedError(
            f"'{uri}' is not the address of an archive",
            advice="Expected s3://bucket/key",
            kind=ErrorKind.BAD_CONFIGURATION,
        )
    with plain_archive(S3Object(bucket, key, what), scratch, what) as source:
        yield find_in_archive(source, architecture, what)


def find_in_archive(source: RangeSource, architecture: str, what: str) -> FoundImage:
    """The image in the uncompressed tar `source`, in either format."""
    members = ArchiveMembers(source, what)
    # Docker 25 and later write both tables; manifest.json is the one that is always complete.
    if "manifest.json" in members:
        return docker_save_image(members, architecture, what)
    if "index.json" in members:
        return find_image(OciArchive(members, what), "latest", architecture, what)
    raise broken(f"{what} is no image: it holds neither manifest.json (docker save) nor index.json (OCI)")
