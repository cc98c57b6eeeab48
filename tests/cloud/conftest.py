"""The embedded cloud of the tests: one per test process, in a folder of its own, on a free port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud.cloud import Cloud
from tests.cloud.embedded import CloudUnderTest, Shell

__all__ = ["CloudUnderTest"]


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudUnderTest]:
    """A running embedded cloud, shared by this process's tests: give buckets and stacks names of your own."""
    embedded = Cloud(Path(tmp_path_factory.mktemp("cloud")))
    running = embedded.start(tied=True)
    yield CloudUnderTest(embedded, running)
    embedded.stop()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """The `scar local` command on a state folder of its own; the cloud is stopped after the test."""
    shell = Shell(tmp_path / "cloud")
    yield shell
    shell.scar("local", "stop")
