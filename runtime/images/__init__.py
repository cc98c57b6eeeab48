"""Images: from a name in the FDL file to a root file system that an engine can run.

`reference` reads the name, `mirrors` says where to ask for it, `credentials` who asks. `registry` (over
`transport`), `layout` and `archive` are the places an image can lie in; to `origin` they are alike, and
`manifest` understands what they hold. `layer_reader`, `decompress`, `tar_stream`, `tar_header` and `unpack`
turn layers into files, `store` keeps them by digest, and `rootfs` ties it together: `prepare_image` is the
only door.

Everything that comes in was written by strangers. Kinds of RunnerError that come out: `InvalidReference`,
`ImageNotFound`, `ImagePrivate`, `PullLimit`, `RegistryUnavailable`, `RegistryError`, `WrongArchitecture`,
`UnsupportedImage`, `BadImage`, `DigestMismatch`, `UnsafeImage`, `DiskFull`, `StoreUnusable`,
`BadConfiguration`, `SecretUnavailable`.
"""

from __future__ import annotations

from runtime.images.inside import resolve_in_root
from runtime.images.manifest import ImageConfig
from runtime.images.rootfs import ImageSource, RootFilesystem, prepare_image

__all__ = ["ImageConfig", "ImageSource", "RootFilesystem", "prepare_image", "resolve_in_root"]
