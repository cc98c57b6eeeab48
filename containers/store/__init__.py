"""Turns the name of an image, or an archive, into an unpacked root file system, once for each machine.

    archive           archives of `docker save`, and of OCI layouts
    pull              downloads and unpacks an image
    shared_base       the same for images that share all but their last layer
    store             unpacked images, by digest, leased to their users
    root_filesystem   an unpacked image that is ready to run
    rootfs            `prepare_image`, the entry point

Kinds of ExplainedError that come out: `InvalidReference`, `ImageNotFound`, `ImagePrivate`, `PullLimit`,
`RegistryUnavailable`, `RegistryError`, `WrongArchitecture`, `UnsupportedImage`, `BadImage`, `UnsafeImage`,
`DigestMismatch`, `DiskFull`, `StoreUnusable`, `BadConfiguration`, `SecretUnavailable`.
"""

from __future__ import annotations

from containers.store.root_filesystem import RootFilesystem
from containers.store.rootfs import ImageSource, prepare_image

__all__ = ["ImageSource", "RootFilesystem", "prepare_image"]
