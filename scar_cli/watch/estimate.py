"""When a workflow will have processed its files: from what waits and runs, and how fast runs end.

The functions that read a function's outputs also get the files that it has yet to write: for each of its runs
as many as they got until now. A workflow ends when its slowest function does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One function of the workflow."""

    name: str
    left: int
    """Files that wait for it or that it is processing."""
    done: int
    per_second: float
    """Runs that end in a second, at the moment."""
    feeds: tuple[str, ...] = ()
    """Functions that read what it writes."""
    is_least: bool = False
    """More files may wait: Lambda does not report the events in its own queue."""


@dataclass(frozen=True)
class Estimate:
    """When everything will be done."""

    seconds: float | None
    """None: no run has ended lately, so there is no rate."""
    is_least: bool = False
    """It may take longer: not all waiting files are known."""


def estimate(steps: Sequence[Step]) -> Estimate:
    """The estimate for all functions; 0 seconds if nothing waits or runs."""
    by_name = {step.name: step for step in steps}
    expected = _expected(by_name)
    is_least = any(step.is_least for step in steps)
    slowest = 0.0
    for step in steps:
        if not expected[step.name]:
            continue
        if not step.per_second:
            if step.left:
                return Estimate(None, is_least)
            is_least = True  # it has got no files yet, so its rate is unknown
            continue
        slowest = max(slowest, expected[step.name] / step.per_second)
    return Estimate(slowest, is_least)


def _expected(steps: Mapping[str, Step]) -> dict[str, float]:
    """The files that each function has yet to process, with those that other functions will write for it."""
    writers: dict[str, list[str]] = {name: [] for name in steps}
    for step in steps.values():
        for reader in step.feeds:
            if reader in writers and reader != step.name:
                writers[reader].append(step.name)
    expected: dict[str, float] = {}
    for name in _in_order(steps):
        own = [one for one in writers[name] if one in expected]  # a loop is followed once
        finished = sum(steps[one].done for one in own)
        files = steps[name].done + steps[name].left
        coming = sum(expected[one] for one in own)
        expected[name] = steps[name].left + coming * (files / finished if finished else 1.0)
    return expected


def _in_order(steps: Mapping[str, Step]) -> list[str]:
    """The functions, each after those that write its files, except in a loop."""
    ended: dict[str, None] = {}
    seen: set[str] = set()
    for start in steps:
        waiting = [(start, iter(steps[start].feeds))]
        seen.add(start)
        while waiting:
            name, readers = waiting[-1]
            reader = next((one for one in readers if one in steps and one not in seen), None)
            if reader is None:
                ended.setdefault(name)
                waiting.pop()
            else:
                seen.add(reader)
                waiting.append((reader, iter(steps[reader].feeds)))
    return list(ended)[::-1]
