"""How an image wants to be run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageConfig:
    """How the image wants to be run (the `config` object of the OCI image configuration)."""

    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    """Absolute; empty: the image does not say."""
    user: str = ""
