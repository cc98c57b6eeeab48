"""Adds udocker's tools to the runner layer, for functions in pulled mode (`runtime: python3.13`).

AWS Lambda does not allow namespaces, so in pulled mode the runner needs fakechroot libraries or proot there.
udocker publishes both, built for many distributions, in one tarball; `udocker_tarball` finds it. The tarball
is not trusted: only regular files with the names of tools, and links between them, are read, so nothing in
it can lead elsewhere. Its size is limited.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from scar_constructs.deployment import DeploymentError

# udocker calls the architectures as Docker does, but for x86_64.
_WANTED = re.compile(
    r"(?:.*/)?(?:(lib)/(libfakechroot(?:-[\w.]+)*-(?:x86_64|arm64)\.so)"
    r"|(bin)/(proot-(?:x86_64|arm64)(?:-4_8_0)?)"
    r"|(doc)/((?:LICENSE|COPYING)[\w.-]*))"
)
_MAXIMUM_MEMBERS = 10_000
_MAXIMUM_UNPACKED = 1 << 30
# The maximum of AWS Lambda is 250 MB for layers and function together, unpacked; the runner has about 10.
_MAXIMUM_BYTES = 200 << 20


def add_udocker_tools(tarball: Path, folder: Path) -> None:
    """Unpack the files that the runner uses from the tarball into `folder`, as `lib/…` and `bin/…`.

    :raises DeploymentError: it is not such a tarball.
    """
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            found = _tools(archive, tarball)
    except (OSError, EOFError, tarfile.TarError, ValueError, zlib.error) as error:
        if isinstance(error, DeploymentError):
            raise
        raise DeploymentError(f"udocker's tools {tarball} cannot be read: {error}") from error
    if not any(name.startswith(("lib/", "bin/")) for name in found):
        raise DeploymentError(
            f"{tarball} contains neither fakechroot libraries nor proot: expected a release of udocker's "
            "tools (udocker-englib-*.tar.gz)"
        )
    for name, content in found.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o644 if name.startswith("doc/") else 0o755)


def _tools(archive: tarfile.TarFile, tarball: Path) -> dict[str, bytes]:
    """Name → content of the tools."""
    found: dict[str, bytes] = {}
    links: dict[str, str] = {}
    size = unpacked = 0
    for number, member in enumerate(archive):
        unpacked += member.size  # unused files are decompressed, too
        if number >= _MAXIMUM_MEMBERS or member.size < 0 or unpacked > _MAXIMUM_UNPACKED:
            raise DeploymentError(f"{tarball} is too large for a release of udocker's tools")
        name = _tool(member.name)
        if name is None:
            continue
        if member.issym() or member.islnk():
            links[name] = f"{name.partition('/')[0]}/{PurePosixPath(member.linkname).name}"
            continue
        size += member.size
        if size > _MAXIMUM_BYTES:
            raise DeploymentError(
                f"the tools in {tarball} have more than {_MAXIMUM_BYTES >> 20} MiB, too much for AWS Lambda"
            )
        content = archive.extractfile(member) if member.isfile() else None
        if content is not None:
            found[name] = content.read()
    # One library serves several distributions: a copy each, as zip archives of the CDK have no links.
    copies = {name: found[target] for name, target in links.items() if target in found}
    if size + sum(map(len, copies.values())) > _MAXIMUM_BYTES:
        copies = {}
    return {**copies, **found}


def _tool(name: str) -> str | None:
    wanted = _WANTED.fullmatch(str(PurePosixPath(name)))
    return "/".join(part for part in wanted.groups() if part) if wanted else None
