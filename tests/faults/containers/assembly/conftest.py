"""A source and a target registry for all tests, and two repositories in them for each."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.containers.assembly.world import World, small_runner
from tests.registry_server import REGISTRY_PROGRAM, real_registry


@pytest.fixture(scope="session")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    if REGISTRY_PROGRAM is None:
        pytest.skip("needs docker-registry")
    with (
        real_registry(tmp_path_factory.mktemp("source")) as source,
        real_registry(tmp_path_factory.mktemp("target")) as target,
    ):
        yield source, target


@pytest.fixture
def world(registries: tuple[str, str], tmp_path: Path) -> World:
    return World(*registries, f"image-{uuid.uuid4().hex[:12]}", small_runner(tmp_path), tmp_path)
