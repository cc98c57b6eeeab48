"""Puts udocker's tools beside the runner: without them no container runs where the kernel refuses namespaces.

AWS Lambda and AWS Fargate do refuse them. There the runner needs fakechroot libraries or proot, and udocker
publishes both, built for many distributions, in one tarball (https://github.com/indigo-dc/udocker, releases,
`udocker-englib-*.tar.gz`). Its path is given by udocker's own variable UDOCKER_TARBALL while synthesizing.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from pathlib import Path, PurePosixPath

UDOCKER_TARBALL = "UDOCKER_TARBALL"
"""Environment variable: path of the tarball. Not set: the tools are left out."""

_WANTED = re.compile(r"(?:.*/)?(lib/libfakechroot-[\w.-]+\.so|bin/proot-(?:x86_64|aarch64)(?:-4_8_0)?)")


def add_udocker_tools(folder: Path) -> None:
    """Unpack what the runner uses of the tarball into `folder`, as `lib/…` and `bin/…`.

    Of the tarball only regular files with the names of tools are read, so nothing in it can lead elsewhere.

    :raises RuntimeError: UDOCKER_TARBALL names something that is no such tarball.
    """
    name = os.environ.get(UDOCKER_TARBALL)
    if not name:
        return
    found = False
    try:
        with tarfile.open(name) as tarball:
            for member in tarball:
                wanted = _WANTED.fullmatch(str(PurePosixPath(member.name)))
                content = tarball.extractfile(member) if wanted and member.isfile() else None
                if wanted is None or content is None:
                    continue
                target = folder / wanted[1]
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file)
                target.chmod(0o755)
                found = True
    except (OSError, tarfile.TarError) as error:
        raise RuntimeError(f"{UDOCKER_TARBALL}={name} cannot be read: {error}") from error
    if not found:
        raise RuntimeError(
            f"{UDOCKER_TARBALL}={name} holds neither fakechroot libraries nor proot: expected a release of "
            "udocker's tools (udocker-englib-*.tar.gz)"
        )
