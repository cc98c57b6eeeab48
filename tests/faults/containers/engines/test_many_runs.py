"""Sixty runs one after the other, and sixteen at once: nothing is left of any of them."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from containers.engines import ContainerProcess
from containers.store import ImageSource, prepare_image
from runtime.workspace import new_workspace
from tests.faults.containers.engines.conftest import Runner

# A run that leaves what it can: a file in every place, and a process that does not want to end.
SECONDS = 1_000_000 + os.getpid()  # to tell our processes from those of other tests
UNTIDY = f'touch /left /tmp/left "$FOLDER/output/left" 2>&-; setsid sleep {SECONDS} & echo $!'


@dataclass(frozen=True)
class Traces:
    """What of this process can be seen from outside."""

    descriptors: Counter[str]
    children: int
    mounts: int
    threads: int
    files: frozenset[str]

    @classmethod
    def of(cls, store: Path) -> Traces:
        gc.collect()
        descriptors: Counter[str] = Counter()
        for descriptor in Path("/proc/self/fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue  # the one that listed them
            descriptors[target.partition(":[")[0]] += 1
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
        files = frozenset(str(path) for path in store.rglob("*"))
        mounts = len(Path("/proc/self/mountinfo").read_bytes().splitlines())
        return cls(descriptors, len(children), mounts, threading.active_count(), files)

    def are_among(self, others: Traces) -> bool:
        """Whether there is no trace that the others do not have."""
        return (
            self.descriptors <= others.descriptors
            and (self.children, self.mounts, self.files) == (others.children, others.mounts, others.files)
            and self.threads <= others.threads
        )


@pytest.fixture(params=["namespaces", "fakechroot"])
def runner(request: pytest.FixtureRequest) -> Runner:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Runner)
    return found


def invoke(runner: Runner, layouts: Path, number: int, pids: list[int]) -> None:
    """A whole run, as `job` makes it."""
    source = ImageSource.registry("shell")
    mirrors = f"docker.io=file://{layouts}"
    output: list[bytes] = []
    with (
        new_workspace(runner.store) as workspace,
        prepare_image(source, store=runner.store, mirrors=mirrors) as root,
    ):
        process = ContainerProcess(
            root=root,
            argv=["/bin/sh", "-c", f"{UNTIDY}; exit {number % 7}"],
            env={"PATH": "/usr/bin:/bin", "FOLDER": str(workspace.path)},
            working_dir="/",
            user="",
            binds={workspace.path: str(workspace.path)},
            deadline=None,
            on_output=output.append,
        )
        assert runner.engine.run(process).exit_code == number % 7
    pids.append(int(b"".join(output)))


def sleepers() -> list[str]:
    """Processes that a run here has left."""
    found: list[str] = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and b"sleep\0%d" % SECONDS in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue  # it has ended meanwhile
    return found


def leaves_nothing(store: Path, run: Callable[[], None]) -> None:
    """The same traces before and after. If there are fewer, something of an earlier test has just ended, and
    the runs are repeated."""
    before = Traces.of(store)
    run()
    after = Traces.of(store)
    if after != before and after.are_among(before):
        before = after
        run()
        after = Traces.of(store)
    assert after.files == before.files
    assert (after.children, after.mounts, after.threads) == (before.children, before.mounts, before.threads)
    assert after.descriptors == before.descriptors
    assert sleepers() == []


def test_sixty_in_a_row_leave_nothing(namespaces: Runner, layouts: Path) -> None:
    def sixty() -> None:
        for number in range(60):
            invoke(namespaces, layouts, number, [])

    invoke(namespaces, layouts, 0, [])
    leaves_nothing(namespaces.store, sixty)


def test_sixteen_at_once_leave_nothing(runner: Runner, layouts: Path) -> None:
    def sixteen() -> None:
        pids: list[int] = []
        threads = [
            threading.Thread(target=invoke, args=(runner, layouts, number, pids)) for number in range(1, 17)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(pids) == 16

    invoke(runner, layouts, 0, [])
    leaves_nothing(runner.store, sixteen)
