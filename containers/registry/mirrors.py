"""The sources of an image: the mirrors in SCAR_REGISTRY_MIRRORS, then the registry itself.

The variable is a comma-separated list of `REGISTRY=BASE`; several entries for one registry are tried in
order.

| BASE | the image `docker.io/grycap/ffmpeg:latest` is |
|---|---|
| `https://host`, `http://host` | repository `grycap/ffmpeg` of that registry |
| `https://host/prefix` | repository `prefix/grycap/ffmpeg` there, as pull-through caches name it |
| `file:///folder` | the OCI image layout in `/folder/grycap/ffmpeg` |

A mirror that fails or does not have the image is skipped. Plain HTTP is used for mirrors with `http://`, and
for registries on this machine itself, which are not reached over a network.
"""

from __future__ import annotations

import contextlib
import ipaddress
import traceback
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from containers.errors import ErrorKind, ExplainedError
from containers.image.layout import LayoutFolder
from containers.image.origin import BlobStore
from containers.patience import ServerPatience
from containers.registry.references import DOCKER_HUB, ImageReference

if TYPE_CHECKING:
    from containers.registry.client import RegistryRepository

Answer = TypeVar("Answer")

_DOCKER_HUB_HOST = "registry-1.docker.io"

REGISTRY_PATIENCE = ServerPatience()
MIRROR_PATIENCE = ServerPatience(timeout_s=10.0, attempts=2, slowest_bytes_per_s=32 * 1024)
"""Another source follows: no need to wait for one that is slow or fails."""


@dataclass(frozen=True)
class Place:
    """One source. `local`: on this machine, so that looking up a tag each time costs nothing. `read_digest`
    resolves a tag without pulling anything; None for folders. `is_mirror`: another source follows."""

    name: str
    local: bool
    open: Callable[[], BlobStore]
    read_digest: Callable[[str], str | None] | None = None
    is_mirror: bool = True

    def ask(self, question: Callable[[], Answer], log: Callable[[str, Mapping[str, object]], None]) -> Answer:
        """The result of `question` for this source. Raises ExplainedError.

        Any unexpected error in processing a mirror's answer means a broken mirror, and the next source is
        tried.
        """
        try:
            return question()
        except ExplainedError:
            raise
        except Exception as error:
            if not self.is_mirror:
                raise
            log(
                "mirror failed",
                {"mirror": self.name, "traceback": "".join(traceback.format_exception(error))},
            )
            raise ExplainedError(
                f"{self.name} returned an answer that the runner cannot process ({type(error).__name__})",
                advice="Check the mirror; the error is in the log",
                kind=ErrorKind.REGISTRY_ERROR,
            ) from error


def places_for(
    reference: ImageReference, mirrors: str | None, registry_credentials: str | None = None
) -> list[Place]:
    """All places to ask for `reference`, in order; the registry itself is the last.

    `registry_credentials` is the name or ARN of the secret with the registry's login. No mirror sees it.
    """
    what = f"image {reference}"
    places = [
        _mirror(base, reference, what)
        for registry, base in parse_mirrors(mirrors)
        if registry == reference.registry
    ]
    host = _DOCKER_HUB_HOST if reference.registry == DOCKER_HUB else reference.registry
    scheme = "http" if is_loopback(host) else "https"
    registry = _registry(
        f"{scheme}://{host}", "", reference, what, patience=REGISTRY_PATIENCE, secret=registry_credentials
    )
    return [*places, replace(registry, is_mirror=False)]


def parse_mirrors(text: str | None) -> list[tuple[str, str]]:
    """(registry, base) for each entry; ExplainedError (kind `BadConfiguration`) for one that is malformed."""
    pairs: list[tuple[str, str]] = []
    for entry in filter(None, (part.strip() for part in (text or "").split(","))):
        registry, separator, base = entry.partition("=")
        try:
            parts = urllib.parse.urlsplit(base)
            host = parts.hostname if parts.port != 0 else None
        except ValueError:  # brackets without an address in them, a port that is not a number
            parts, host = urllib.parse.urlsplit(""), None
        usable = bool(host) if parts.scheme in ("http", "https") else parts.scheme == "file" and parts.path
        if not separator or not registry or not usable or parts.query or parts.fragment:
            raise ExplainedError(
                f"SCAR_REGISTRY_MIRRORS has an invalid entry: '{entry}'",
                advice="Write REGISTRY=BASE; BASE is https://host[/prefix], http://host or file:///folder",
                kind=ErrorKind.BAD_CONFIGURATION,
            )
        pairs.append((registry.lower(), base.rstrip("/")))
    return pairs


def is_loopback(host: str) -> bool:
    """Whether `host[:port]` is this machine."""
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _mirror(base: str, reference: ImageReference, what: str) -> Place:
    parts = urllib.parse.urlsplit(base)
    if parts.scheme == "file":
        folder = Path(urllib.parse.unquote(parts.path)) / reference.repository
        return Place(base, True, lambda: LayoutFolder(folder, what))
    return _registry(
        f"{parts.scheme}://{parts.netloc}", parts.path.strip("/"), reference, what, patience=MIRROR_PATIENCE
    )


def _registry(
    origin: str,
    prefix: str,
    reference: ImageReference,
    what: str,
    *,
    patience: ServerPatience,
    secret: str | None = None,
) -> Place:
    repository = f"{prefix}/{reference.repository}" if prefix else reference.repository

    def open_repository(patience: ServerPatience = patience) -> RegistryRepository:
        # urllib3, ssl and its certificates take 50 ms to load; a warm run needs none of them.
        from containers.registry.client import RegistryRepository
        from containers.registry.credentials import credentials_for

        return RegistryRepository(
            origin, repository, what, credentials=credentials_for(secret), patience=patience
        )

    def read_digest(version: str) -> str | None:
        # There is always another way: no need to be patient.
        with contextlib.closing(open_repository(replace(patience, attempts=2))) as opened:
            return opened.read_digest(version)

    return Place(origin, is_loopback(urllib.parse.urlsplit(origin).netloc), open_repository, read_digest)
