# ruff: noqa: PTH102
# There are tens of thousands of files, and pathlib takes longer than the kernel.

"""Images that differ in their last layer share the files of all others.

Assembled images do: the function's package is a small layer on top, and a changed script means a new one.
The layers below are unpacked once, as an image of its own in the store. The image itself has directories of
its own and hard links to all other files; then the last layer is applied as usual.

Nothing writes to a file that is in the store: unpacking replaces files, and containers have the image
read-only or below a layer of their own. Not for engines that change modes in the image (`prepared_root`).
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from containers.errors import ErrorKind, ExplainedError
from containers.image.config import ImageConfig
from containers.image.origin import FoundImage
from containers.layers.unpack import Unpacker
from containers.store.pull import Log, new_image, obtain, obtain_image
from containers.store.root_filesystem import RootFilesystem
from containers.store.store import DiskBudget, ImageStore

_SMALL = 10
"""Linking pays if the last layer has no more than a tenth of the image."""


def obtain_image_on_shared_base(found: FoundImage, images: ImageStore, what: str, log: Log) -> RootFilesystem:
    """As `obtain_image`; the layers below the last one are shared, if that is worth it and can be done."""
    *lower, last = found.layers or (None,)
    digests = [layer.digest for layer in lower if layer is not None and layer.digest is not None]
    if last is None or not lower or len(digests) < len(lower) or last.size * _SMALL > found.compressed_bytes:
        return obtain_image(found, images, what, log)
    text = " ".join(["layers", *digests])
    base = FoundImage(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}", tuple(lower), ImageConfig)

    def build() -> int:
        config = found.load_config()
        with (
            obtain_image(base, images, what, log) as below,
            new_image(images, found.digest, what, DiskBudget(images, what, last.size)) as folder,
        ):
            unpacker = Unpacker(folder / "root", charge=DiskBudget(images, what, last.size).charge, what=what)
            link_tree(below.path, folder / "root", unpacker)
            unpacker.apply(last)
            unpacker.finish()
            images.publish(folder, found.digest, config)
        return found.compressed_bytes

    try:
        return obtain(images, found.digest, build)
    except ExplainedError as error:
        if error.kind != ErrorKind.STORE_UNUSABLE:
            raise
        # A file system without hard links, a file with too many, or folders that this user cannot read.
        log("layers cannot be shared", {"image": what, "cause": error.cause})
        return obtain_image(found, images, what, log)


def link_tree(source: Path, target: Path, unpacker: Unpacker) -> None:
    """Copy the content of `source` to the empty folder `target`: folders are created, everything else is
    hard-linked."""
    folders = [(os.fsencode(source), os.fsencode(target))]
    for old, new in folders:  # grows on the way
        unpacker.adopt_directory(new, os.lstat(old))
        with os.scandir(old) as entries:
            for entry in entries:
                path = new + b"/" + entry.name
                if stat.S_ISDIR(entry.stat(follow_symlinks=False).st_mode):
                    os.mkdir(path, 0o700)
                    folders.append((entry.path, path))
                else:
                    os.link(entry.path, path, follow_symlinks=False)
    unpacker.end_layer()
