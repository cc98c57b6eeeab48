"""The run configuration of an image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageConfig:
    """The run configuration (the `config` object of the OCI image configuration)."""

    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    """Absolute; empty: not set by the image."""
    user: str = ""
