"""Which function triggers which: the graph that makes functions a workflow, and its loops.

An output triggers an input of the same bucket when what is written lies in the folder that is read:

* output folder equal to the input's folder, or inside it: **sure**. This is an edge.
* output folder above the input's (`b` against `b/in`): **possible**, as outputs keep their sub-folders and
  the script may leave a file in `in/`. It is no edge, but a loop that needs it is worth a warning.

Filters on names are read in favour of caution: an edge is dropped only if no name can pass both sides, that
is if no suffix of the output fits any suffix of the input (one is the end of the other), or the same for
prefixes.

`s3` and `s3.NAME` are one world, as names of buckets are global; other providers are compared by their whole
name (an OSCAR service that reads `minio.lab` is triggered by whatever writes to `minio.lab`).

The algorithm is linear in the number of functions, also where all of them use one folder: equal outputs and
equal inputs are taken together into *triggers* between the functions, and strongly connected components are
found without recursion (Tarjan).
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


class Station(Protocol):
    """What reads folders and writes folders: a function, or a service on premises."""

    @property
    def name(self) -> str:
        """Unique in the file."""

    @property
    def inputs(self) -> tuple[StorageEntry, ...]:
        """What triggers it."""

    @property
    def outputs(self) -> tuple[StorageEntry, ...]:
        """What it writes."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A way from a function back to itself."""

    steps: tuple[tuple[int, int], ...]
    """(index of the station, index of its output that triggers the next one); the last leads back to the
    first.
    """
    stations: tuple[str, ...]
    storage: tuple[str, ...]
    sure: bool
    """Whether every step is sure, and not only possible."""

    def __str__(self) -> str:
        """`a -> bucket/folder -> b -> bucket/other -> a`."""
        parts = [part for pair in zip(self.stations, self.storage, strict=True) for part in pair]
        return " -> ".join((*parts, self.stations[0]))


def edges(stations: Sequence[Station]) -> tuple[tuple[str, str], ...]:
    """(name of the one that writes, name of the one that is triggered), each pair once, sure edges alone."""
    graph = _Graph(stations)
    found = (
        (station.name, stations[reader].name)
        for station in stations
        for output in station.outputs
        for trigger in graph.triggers(output)
        for reader in graph.readers[trigger]
    )
    return tuple(dict.fromkeys(found))


def loops(stations: Sequence[Station]) -> tuple[Loop, ...]:
    """One loop of each group of functions that trigger each other; sure ones first, then possible ones."""
    graph = _Graph(stations)
    found: list[Loop] = []
    covered: set[int] = set()
    for possible in (False, True):
        successors = graph.successors(possible)
        for component in components(successors):
            # A component of one node is no loop: no station leads to itself but over a trigger.
            if len(component) > 1 and covered.isdisjoint(component):
                covered.update(component)
                found.append(_shortest(stations, successors, component, sure=not possible))
    return tuple(found)


class Danger(IntEnum):
    """Whether something is a part of a loop."""

    NONE = 0
    POSSIBLE = 1
    SURE = 2


@dataclass(frozen=True, slots=True)
class Link:
    """An output that sets off a trigger: one of the distinct inputs of the file."""

    writer: int
    output: int
    """Index of the writer's output."""
    trigger: StorageEntry
    sure: bool
    danger: Danger


def links(stations: Sequence[Station]) -> tuple[tuple[Link, ...], Mapping[tuple[int, int], Danger]]:
    """What a picture shows: every link, also those that are only possible; and which inputs, as (index of the
    station, index of the input), are part of a loop.
    """
    graph = _Graph(stations)
    sure = _component_of_each(graph.successors(possible=False))
    possible = _component_of_each(graph.successors(possible=True))

    def danger(one: int, other: int) -> Danger:
        if sure[one] is not None and sure[one] == sure[other]:
            return Danger.SURE
        return (
            Danger.POSSIBLE if possible[one] is not None and possible[one] == possible[other] else Danger.NONE
        )

    found = []
    for index, station in enumerate(stations):
        for number, output in enumerate(station.outputs):
            certain = frozenset(graph.triggers(output))
            for trigger in graph.triggers(output, possible=True):
                link_danger = danger(index, len(stations) + trigger)
                if trigger not in certain:
                    link_danger = min(link_danger, Danger.POSSIBLE)
                found.append(
                    Link(index, number, graph.inputs[trigger], trigger in certain, Danger(link_danger))
                )
    inputs = {
        (index, number): danger(index, len(stations) + graph.number(entry))
        for index, station in enumerate(stations)
        for number, entry in enumerate(station.inputs)
        if entry.bucket
    }
    return tuple(found), inputs


def _component_of_each(successors: _Successors) -> list[int | None]:
    """For each node the number of its loop, or None."""
    found: list[int | None] = [None] * len(successors)
    for number, component in enumerate(components(successors)):
        if len(component) > 1:
            for node in component:
                found[node] = number
    return found


def most_comparisons(stations: Sequence[Station]) -> int:
    """How many pairs of distinct outputs and inputs the busiest bucket has.

    Filters have to be compared pair by pair. Whoever reads a stranger's file looks here first.
    """
    counts: dict[str, tuple[set[_Output], set[_Output]]] = defaultdict(lambda: (set(), set()))
    for station in stations:
        for side, entries in enumerate((station.inputs, station.outputs)):
            for entry in entries:
                counts[_world(entry)][side].add(_key(entry))
    return max((len(read) * len(written) for read, written in counts.values()), default=0)


def overlapping_inputs(stations: Sequence[Station]) -> tuple[tuple[tuple[int, int], tuple[int, int]], ...]:
    """Pairs of inputs that read the same or nested folders of one bucket; each input in one pair at most.

    An input is (index of the station, index of the input); the first of a pair comes first in the file. S3's
    notifications cannot express such a pair.
    """
    readers: dict[str, list[tuple[tuple[str, ...], int, int]]] = defaultdict(list)
    for index, station in enumerate(stations):
        for number, entry in enumerate(station.inputs):
            if entry.bucket and entry.topic_arn is None:
                readers[_world(entry)].append((_segments(entry.folder), index, number))
    found = []
    for places in readers.values():
        places.sort()
        # In this order whatever lies inside a folder follows it directly.
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
"""Nodes are the stations and, numbered after them, the triggers. For each station: the triggers that it sets
off, and the first of its outputs that does. For each trigger: the stations that it starts.
"""


class _Graph:
    """Outputs on one side, the distinct inputs (*triggers*) on the other."""

    def __init__(self, stations: Sequence[Station]) -> None:
        self._stations = stations
        self.readers: list[list[int]] = []
        """For each trigger: the stations that have it as an input."""
        self.inputs: list[StorageEntry] = []
        """For each trigger: what it is."""
        self._by_folder: dict[str, dict[tuple[str, ...], list[int]]] = defaultdict(dict)
        self._sorted_folders: dict[str, list[tuple[str, ...]]] = {}
        self._known: dict[tuple[_Output, bool], tuple[int, ...]] = {}
        self._numbers: dict[_Output, int] = {}
        for index, station in enumerate(stations):
            for entry in station.inputs:
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
        """The trigger that an input is."""
        return self._numbers[_key(entry)]

    def triggers(self, output: StorageEntry, possible: bool = False) -> tuple[int, ...]:
        """The triggers that an output sets off: surely, or with `possible` those that it may set off too."""
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
        """The graph of stations and triggers."""
        count = len(self._stations)
        result: list[dict[int, int]] = []
        for station in self._stations:
            reached: dict[int, int] = {}
            first = {output: number for number, output in reversed(list(enumerate(station.outputs)))}
            for output, number in first.items():
                for trigger in self.triggers(output, possible):
                    reached.setdefault(count + trigger, number)
            result.append(reached)
        return result + [dict.fromkeys(readers, 0) for readers in self.readers]

    def _above(self, key: _Output) -> list[int]:
        """Triggers on the output's folder and on all folders that hold it."""
        folders = self._by_folder.get(key[0], {})
        return [number for length in range(len(key[1]) + 1) for number in folders.get(key[1][:length], ())]

    def _below(self, key: _Output) -> list[int]:
        """Triggers on folders inside the output's."""
        world, folder = key[0], key[1]
        folders = self._by_folder.get(world, {})
        if world not in self._sorted_folders:
            self._sorted_folders[world] = sorted(folders)
        ordered = self._sorted_folders[world]
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
    return _world(entry), _segments(entry.folder), entry.prefixes, entry.suffixes


def _world(entry: StorageEntry) -> str:
    kind = entry.provider.partition(".")[0]
    return f"{'s3' if kind == 's3' else entry.provider}:{entry.bucket}"


def _segments(folder: str) -> tuple[str, ...]:
    return tuple(folder.split("/")) if folder else ()


def _shortest(
    stations: Sequence[Station], successors: _Successors, component: Sequence[int], *, sure: bool
) -> Loop:
    """The shortest way from the component's first station back to itself (breadth first)."""
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
    # `way` runs backwards: start, the trigger that leads to it, the station that sets that off, …
    nodes = [start, *reversed(way[1:])]
    steps = tuple(
        (station, successors[station][trigger])
        for station, trigger in zip(nodes[::2], nodes[1::2], strict=True)
    )
    return Loop(
        steps=steps,
        stations=tuple(stations[station].name for station, _ in steps),
        storage=tuple(str(stations[station].outputs[number]) for station, number in steps),
        sure=sure,
    )
