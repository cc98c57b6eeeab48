"""The name of an image, parsed as Docker does.

`[registry/]repository[:tag][@digest]`. The default registry is Docker Hub, the default folder there
`library/` (the official images), and the default tag `latest`. The first part is a registry only if it looks
like a host: it contains a dot or a port, is `localhost`, or has capital letters, which repositories never
have (https://pkg.go.dev/github.com/distribution/reference).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from containers.errors import ErrorKind, ExplainedError

DOCKER_HUB = "docker.io"
_DEFAULT_TAG = "latest"
_MAXIMUM_NAME_LENGTH = 255

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(f"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@dataclass(frozen=True)
class ImageReference:
    """Where an image is: registry host, repository path, and a tag, a digest, or both (then the digest
    counts)."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def version(self) -> str:
        """The version to request from the registry: the digest if there is one, else the tag."""
        return self.digest or self.tag or _DEFAULT_TAG

    def __str__(self) -> str:
        text = f"{self.registry}/{self.repository}"
        if self.tag:
            text += f":{self.tag}"
        return f"{text}@{self.digest}" if self.digest else text


def parse_reference(text: str) -> ImageReference:
    """The parts of the image name `text`, with Docker's defaults filled in.

    Raises ExplainedError (kind `InvalidReference`) if Docker would also reject it.
    """
    rest = text.strip()
    if not rest:
        raise _invalid(text, "it is empty")
    rest, digest = _split_digest(text, rest)
    registry, path = _split_registry(rest)
    path, separator, tag = path.partition(":")
    if separator and not _TAG.fullmatch(tag):
        raise _invalid(text, f"'{tag}' is not a valid tag (letters, digits, '_', '.', '-', at most 128)")
    if not _HOST.fullmatch(registry) or not _is_address(registry):
        raise _invalid(text, f"'{registry}' is not a valid registry host")
    if registry in ("index.docker.io", "registry-1.docker.io"):
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and path and "/" not in path:
        path = f"library/{path}"
    if not _PATH.fullmatch(path):
        hint = "; repository names are in lower case" if path != path.lower() else ""
        raise _invalid(text, f"'{path}' is not a valid repository name{hint}")
    if len(path) > _MAXIMUM_NAME_LENGTH:
        raise _invalid(text, f"the repository name is longer than {_MAXIMUM_NAME_LENGTH} characters")
    if not separator:
        tag = "" if digest else _DEFAULT_TAG
    return ImageReference(registry.lower(), path, tag or None, digest)


def _is_address(registry: str) -> bool:
    """Whether the text in brackets is an IPv6 address; True without brackets."""
    if not registry.startswith("["):
        return True
    try:
        ipaddress.IPv6Address(registry[1:].partition("]")[0])
    except ValueError:
        return False
    return True


def _split_digest(text: str, rest: str) -> tuple[str, str | None]:
    name, separator, digest = rest.partition("@")
    if not separator:
        return rest, None
    if not _DIGEST.fullmatch(digest):
        raise _invalid(text, f"'{digest}' is not a valid digest (sha256: and 64 hexadecimal digits)")
    return name, digest


def _split_registry(rest: str) -> tuple[str, str]:
    first, separator, path = rest.partition("/")
    looks_like_host = "." in first or ":" in first or first == "localhost" or first != first.lower()
    if separator and looks_like_host:
        return first, path
    return DOCKER_HUB, rest


def _invalid(text: str, why: str) -> ExplainedError:
    return ExplainedError(
        f"'{text}' is not a valid image name: {why}",
        advice="Write container.image as [registry/]repository[:tag][@sha256:...], for example debian:12",
        kind=ErrorKind.INVALID_REFERENCE,
    )
