"""How the tests are spread over processes, and what is said of those that are left out."""

from __future__ import annotations

import ctypes
import gc
import os
import struct
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.loaders
import botocore.session
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# Tests have many sessions of boto3. All but the first take the descriptions of AWS's services from memory.
botocore.session.create_loader = cache(botocore.loaders.create_loader)

SHARED = ("tests/synth", "tests/contract", "tests/cloud/launches")
"""Folders whose files share something slow to make: loading the CDK, a deployment. One process runs each."""


# linux/capability.h, linux/prctl.h, linux/securebits.h
_CAPABILITY_VERSION_3 = 0x20080522
_PR_GET_SECUREBITS, _PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP = 27, 28, 4
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


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


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without garbage collections, which take half of the time. What was collected stays."""
    gc.disable()
    yield
    gc.enable()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest starts first, so that no process is alone with it at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(SHARED))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI=true no test may be left out: a check that did not run looks like one that passed."""
    left_out = _left_out(session.config)
    if left_out and os.environ.get("CI") == "true" and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how many tests were left out, and why."""
    left_out = _left_out(config)
    if not left_out:
        return
    consequence = ", which CI=true does not allow" if os.environ.get("CI") == "true" else ""
    count = left_out.total()
    terminalreporter.section(f"{count} test{'s were' if count > 1 else ' was'} left out{consequence}")
    for reason, number in left_out.most_common():
        terminalreporter.line(f"{number:5}  {reason}")


def _left_out(config: pytest.Config) -> Counter[str]:
    """How many tests were skipped, by their reasons."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    return Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)


@pytest.fixture
def modes_count() -> Iterator[None]:
    """Files' modes count for the test, even if root runs it: its capabilities to override them are off."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    before = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == 0
    now = (ctypes.c_uint32 * 6)(*before)
    now[0] &= ~(1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH)  # the effective set's lower half
    securebits = libc.prctl(_PR_GET_SECUREBITS)
    if os.geteuid() == 0:  # else access(2) takes root's permitted capabilities for effective ones
        assert libc.prctl(_PR_SET_SECUREBITS, securebits | _SECBIT_NO_SETUID_FIXUP) == 0
    assert libc.capset(header, now) == 0
    yield
    assert libc.capset(header, before) == 0
    if os.geteuid() == 0:
        assert libc.prctl(_PR_SET_SECUREBITS, securebits) == 0
