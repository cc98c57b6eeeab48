"""The input of the program that runs a container (`host.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Mount(NamedTuple):
    """A folder of this machine that a container sees."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True)
class JobNode:
    """A node of a multi-node job."""

    address: str
    """In the network of the job."""
    main: Mapping[str, str] | None
    """Where the main node's network is (`NodeNetwork.paths`); None: this is the main node."""


@dataclass(frozen=True)
class ContainerTask:
    """The container to run: an image in the folder `layout` (OCI image layout), or one of another registry.

    None means the image's setting; `env` is added to the image's own.
    """

    image: str
    """As messages name it; the reference, if `layout` is None."""
    env: Mapping[str, str]
    layout: str | None = None
    digest: str | None = None
    """Of the image in `layout`."""
    entrypoint: Sequence[str] | None = None
    command: Sequence[str] | None = None
    working_dir: str | None = None
    user: str | None = None
    lambda_tmp_mib: int | None = None
    """As on Lambda: a read-only root, and a /tmp of this size."""
    read_only_root: bool = False
    """As with `docker run --read-only`."""
    limits: Mapping[str, tuple[int, int]] | None = None
    """Soft and hard limits by their names in Docker's words, such as `nofile`."""
    memory_mib: int | None = None
    """A container that uses more is killed."""
    host_ports: Sequence[tuple[str, int]] = ()
    """What the container can reach on this machine's loopback interface."""
    node: JobNode | None = None
    """Only for a node of a multi-node job."""
    mounts: Sequence[Mount] = ()
    """Folders that other containers may use, too; they keep their owners and modes."""
    only_prepare: bool = False
    """Unpack the image, and run nothing."""
