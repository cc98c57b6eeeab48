"""Which function triggers which: the graph that makes functions a workflow, and its loops.

An output triggers an input of the same bucket if the files are written to the folder that is read:

* The output folder is the input folder, or inside it: **sure**. This is an edge.
* The output folder is above the input folder (`b` and `b/in`): **possible**, because outputs keep their
  subfolders and the script may write a file to `in/`. This is not an edge, but a loop with it is a warning.

Filters on names are treated with caution: an edge is only dropped if no name can match both sides, that is if
no suffix of the output is the end of a suffix of the input or the other way around, and the same for
prefixes.

`s3` and `s3.NAME` are equal, because bucket names are global. Other providers are compared by their whole
name (an OSCAR service that reads `minio.lab` is triggered by everything that writes to `minio.lab`).

The algorithm is linear in the number of functions, even if all of them use one folder: equal inputs are
combined to *triggers*, and strongly connected components are found without recursion (Tarjan).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from fdl_schemas.components import components
from fdl_schemas.model import StorageEntry


class Step(Protocol):
    """A step of a workflow, which reads and writes folders: a function or an OSCAR service."""

    @property
    def name(self) -> str:
        """Unique in the file."""

    @property
    def inputs(self) -> tuple[StorageEntry, ...]:
        """The folders that trigger it."""

    @property
    def outputs(self) -> tuple[StorageEntry, ...]:
        """The folders that it writes."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A path from a step back to itself."""

    path: tuple[tuple[int, int], ...]
    """(index of the step, index of its output that triggers the next step); the last triggers the first."""
    names: tuple[str, ...]
    storage: tuple[str, ...]
    sure: bool
    """Whether every edge is sure, not only possible."""

    def __str__(self) -> str:
        """`a -> bucket/folder -> b -> bucket/other -> a`."""
        parts = [part for pair in zip(self.names, self.storage, strict=True) for part in pair]
        return " -> ".join((*parts, self.names[0]))


def edges(steps: Sequence[Step]) -> tuple[tuple[str, str], ...]:
    """(name of the writer, name of the triggered step), each pair once, sure edges only."""
    graph = _Graph(steps)
    found = (
        (step.name, steps[reader].name)
        for step in steps
        for output in step.outputs
        for trigger in graph.triggers(output)
        for reader in graph.readers[trigger]
    )
    return tuple(dict.fromkeys(found))


def loops(steps: Sequence[Step]) -> tuple[Loop, ...]:
    """One loop of each group of steps that trigger each other: first sure, then possible loops."""
    graph = _Graph(steps)
    found: list[Loop] = []
    covered: set[int] = set()
    for possible in (False, True):
        successors = graph.successors(possible)
        for component in components(successors):
            # A component of one node is not a loop: a path from a step to itself has a trigger in it.
            if len(component) > 1 and covered.isdisjoint(component):
                covered.update(component)
                found.append(_shortest(steps, successors, component, sure=not possible))
    return tuple(found)


class Danger(IntEnum):
    """Whether an edge or a node is a part of a loop."""

    NONE = 0
    POSSIBLE = 1
    SURE = 2


@dataclass(frozen=True, slots=True)
class Link:
    """An output that fires a trigger: one of the distinct inputs of the file."""

    writer: int
    output: int
    """Index of the writer's output."""
    trigger: StorageEntry
    sure: bool
    danger: Danger


def links(steps: Sequence[Step]) -> tuple[tuple[Link, ...], Mapping[tuple[int, int], Danger]]:
    """The content of a diagram: all links, including possible ones, and which inputs are part of a loop, as
    (index of the step, index of the input).
    """
    graph = _Graph(steps)
    sure = _component_of_each(graph.successors(possible=False))
    possible = _component_of_each(graph.successors(possible=True))

    def danger(one: int, other: int) -> Danger:
        if sure[one] is not None and sure[one] == sure[other]:
            return Danger.SURE
        return (
            Danger.POSSIBLE if possible[one] is not None and possible[one] == possible[other] else Danger.NONE
        )

    found = []
    for index, step in enumerate(steps):
        for number, output in enumerate(step.outputs):
            certain = frozenset(graph.triggers(output))
            for trigger in graph.triggers(output, possible=True):
                link_danger = danger(index, len(steps) + trigger)
                if trigger not in certain:
                    link_danger = min(link_danger, Danger.POSSIBLE)
                found.append(
                    Link(index, number, graph.inputs[trigger], trigger in certain, Danger(link_danger))
                )
    inputs = {
        (index, number): danger(index, len(steps) + graph.number(entry))
        for index, step in enumerate(steps)
        for number, entry in enumerate(step.inputs)
        if entry.bucket
    }
    return tuple(found), inputs


def _component_of_each(successors: _Successors) -> list[int | None]:
    """The number of the loop of each node, or None."""
    found: list[int | None] = [None] * len(successors)
    for number, component in enumerate(components(successors)):
        if len(component) > 1:
            for node in component:
                found[node] = number
    return found


def most_comparisons(steps: Sequence[Step]) -> int:
    """The largest number of pairs of distinct outputs and inputs on one bucket.

    Filters are compared for each pair. Check this number before you create the graph of an untrusted file.
    """
    counts: dict[str, tuple[set[_Output], set[_Output]]] = defaultdict(lambda: (set(), set()))
    for step in steps:
        for side, entries in enumerate((step.inputs, step.outputs)):
            for entry in entries:
                counts[_bucket_of(entry)][side].add(_key(entry))
    return max((len(read) * len(written) for read, written in counts.values()), default=0)


def overlapping_inputs(steps: Sequence[Step]) -> tuple[tuple[tuple[int, int], tuple[int, int]], ...]:
    """Pairs of inputs that read the same or nested folders of one bucket; each input in one pair at most.

    An input is (index of the step, index of the input), and a pair is in the order of the file. S3's
    notifications cannot express such a pair.
    """
    readers: dict[str, list[tuple[tuple[str, ...], int, int]]] = defaultdict(list)
    for index, step in enumerate(steps):
        for number, entry in enumerate(step.inputs):
            if entry.bucket and not entry.is_notified_elsewhere:
                readers[_bucket_of(entry)].append((_segments(entry.folder), index, number))
    found = []
    for places in readers.values():
        places.sort()
        # In this order, subfolders directly follow their folder.
        above: tuple[tuple[str, ...], int, int] | None = None
        for place in places:
            if above is not None and place[0][: len(above[0])] == above[0]:
                first, second = sorted(((above[1], above[2]), (place[1], place[2])))
                found.append((first, second))
            else:
                above = place
    return tuple(sorted(found, key=lambda pair: pair[1]))


_Output = tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]
_Successors = Sequence[Mapping[int, int]]
"""Nodes are the steps, followed by the triggers. Each step has the triggers that it fires, with the first of
its outputs that does. Each trigger has the steps that it starts.
"""


class _Graph:
    """The graph of outputs and distinct inputs (*triggers*)."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self.readers: list[list[int]] = []
        """The steps with this input, for each trigger."""
        self.inputs: list[StorageEntry] = []
        """The input of each trigger."""
        self._by_folder: dict[str, dict[tuple[str, ...], list[int]]] = defaultdict(dict)
        self._sorted_folders: dict[str, list[tuple[str, ...]]] = {}
        self._known: dict[tuple[_Output, bool], tuple[int, ...]] = {}
        self._numbers: dict[_Output, int] = {}
        for index, step in enumerate(steps):
            for entry in step.inputs:
                if not entry.bucket:
                    continue
                key = _key(entry)
                if key not in self._numbers:
                    self._numbers[key] = len(self.readers)
                    self.readers.append([])
                    self.inputs.append(entry)
                    self._by_folder[key[0]].setdefault(key[1], []).append(self._numbers[key])
                if not self.readers[self._numbers[key]] or self.readers[self._numbers[key]][-1] != index:
                    self.readers[self._numbers[key]].append(index)

    def number(self, entry: StorageEntry) -> int:
        """The number of an input's trigger."""
        return self._numbers[_key(entry)]

    def triggers(self, output: StorageEntry, possible: bool = False) -> tuple[int, ...]:
        """The triggers that an output fires; with `possible`, including those that it may fire."""
        if not output.bucket:
            return ()
        key = _key(output)
        known = self._known.get((key, possible))
        if known is None:
            candidates = self._above(key)
            if possible:
                candidates += self._below(key)
            known = tuple(number for number in candidates if _names_can_pass(output, self.inputs[number]))
            self._known[(key, possible)] = known
        return known

    def successors(self, possible: bool) -> _Successors:
        """The graph of steps and triggers."""
        count = len(self._steps)
        result: list[dict[int, int]] = []
        for step in self._steps:
            reached: dict[int, int] = {}
            first = {output: number for number, output in reversed(list(enumerate(step.outputs)))}
            for output, number in first.items():
                for trigger in self.triggers(output, possible):
                    reached.setdefault(count + trigger, number)
            result.append(reached)
        return result + [dict.fromkeys(readers, 0) for readers in self.readers]

    def _above(self, key: _Output) -> list[int]:
        """Triggers on the output's folder and on all folders above it."""
        folders = self._by_folder.get(key[0], {})
        return [number for length in range(len(key[1]) + 1) for number in folders.get(key[1][:length], ())]

    def _below(self, key: _Output) -> list[int]:
        """Triggers on folders inside the output's."""
        bucket, folder = key[0], key[1]
        folders = self._by_folder.get(bucket, {})
        if bucket not in self._sorted_folders:
            self._sorted_folders[bucket] = sorted(folders)
        ordered = self._sorted_folders[bucket]
        found = []
        for candidate in ordered[bisect_left(ordered, folder) :]:
            if candidate[: len(folder)] != folder:
                break
            if candidate != folder:
                found += folders[candidate]
        return found


def _names_can_pass(output: StorageEntry, trigger: StorageEntry) -> bool:
    return _some_fit(output.suffixes, trigger.suffixes, str.endswith) and _some_fit(
        output.prefixes, trigger.prefixes, str.startswith
    )


def _some_fit(written: Sequence[str], read: Sequence[str], test: object) -> bool:
    if not written or not read:
        return True
    assert callable(test)  # noqa: S101 - str.endswith or str.startswith
    return any(test(one, other) or test(other, one) for one in written for other in read)


def _key(entry: StorageEntry) -> _Output:
    return _bucket_of(entry), _segments(entry.folder), entry.prefixes, entry.suffixes


def _bucket_of(entry: StorageEntry) -> str:
    kind = entry.provider.partition(".")[0]
    return f"{'s3' if kind == 's3' else entry.provider}:{entry.bucket}"


def _segments(folder: str) -> tuple[str, ...]:
    return tuple(folder.split("/")) if folder else ()


def _shortest(
    steps: Sequence[Step], successors: _Successors, component: Sequence[int], *, sure: bool
) -> Loop:
    """The shortest path from the component's first step back to itself (breadth first)."""
    members, start = set(component), component[0]
    came_from: dict[int, int] = {}
    waiting = deque([start])
    while waiting and start not in came_from:
        node = waiting.popleft()
        for following in successors[node]:
            if following in members and following not in came_from:
                came_from[following] = node
                waiting.append(following)
    way = [start]
    node = came_from[start]
    while node != start:
        way.append(node)
        node = came_from[node]
    # `way` is in reverse: start, the trigger before it, the step that fires that trigger, …
    nodes = [start, *reversed(way[1:])]
    path = tuple(
        (step, successors[step][trigger]) for step, trigger in zip(nodes[::2], nodes[1::2], strict=True)
    )
    return Loop(
        path=path,
        names=tuple(steps[step].name for step, _ in path),
        storage=tuple(str(steps[step].outputs[number]) for step, number in path),
        sure=sure,
    )
