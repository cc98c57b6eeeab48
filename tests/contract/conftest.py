"""The embedded cloud of the contract suite, in a folder that any user may enter, and its environments."""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_cloud.cloud import Cloud
from tests.cloud.embedded import CloudUnderTest
from tests.contract.cases import CASES
from tests.contract.environments import Deployed, Environment, deploy, environment


@pytest.fixture(scope="session")
def deployed() -> Iterator[Deployed]:
    if missing := [tool for tool in ("skopeo", "umoci", "bwrap") if shutil.which(tool) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = Path(tempfile.mkdtemp(prefix="scar-contract-"))
    folder.chmod(0o755)
    cloud = Cloud(folder / "cloud")
    try:
        yield deploy(CloudUnderTest(cloud, cloud.start(tied=True)), folder)
    finally:
        cloud.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def places(deployed: Deployed) -> Iterator[Callable[[str], Environment]]:
    """Gives an environment by its name, always the same one."""
    with contextlib.ExitStack() as held:

        @functools.cache
        def find(name: str) -> Environment:
            made = held.enter_context(environment(name, deployed))
            made.prepare([case for case in CASES if case.runs_in(name)])
            return made

        yield find


@pytest.fixture
def place(request: pytest.FixtureRequest, places: Callable[[str], Environment]) -> Environment:
    """The environment whose name is the parameter."""
    return places(request.param)
