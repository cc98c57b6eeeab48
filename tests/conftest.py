"""How the tests are spread over processes, by pytest-xdist."""

from __future__ import annotations

import os

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

SHARED = ("tests/synth", "tests/contract", "tests/cloud/launches")
"""Folders whose files share something slow to make: loading the CDK, a deployment. One process runs each."""


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """A file, or a folder of `SHARED`, is run by one process."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return next((folder for folder in SHARED if file.startswith(f"{folder}/")), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """The scheduling of `--dist loadfile`."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: two for each core, since tests of servers and processes wait for half of their time."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 2 * usable


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest starts first, so that no process is alone with it at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(SHARED))
