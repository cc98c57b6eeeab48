"""An image that is unpacked and ready to run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from containers.image.config import ImageConfig
from containers.store.store import Lease


@dataclass(frozen=True)
class RootFilesystem:
    """An unpacked image, leased: it stays in the store until `release`, or the end of the `with` block.

    The tree at `path` is shared by all invocations; an engine gives each one a fresh writable layer above it.
    """

    path: Path
    digest: str
    config: ImageConfig
    cached: bool
    bytes_downloaded: int
    lease: Lease | None = field(default=None, repr=False, compare=False)

    def release(self) -> None:
        """Let the store evict the image when the disk is short."""
        if self.lease is not None:
            self.lease.release()

    def __enter__(self) -> RootFilesystem:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
