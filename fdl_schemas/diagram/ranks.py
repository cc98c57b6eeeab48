"""Columns for the nodes, in which all arrows but those of loops lead to the right; and an order in each.

The way of Sugiyama, Tagawa and Toda (1981): turn round the arrows that close loops; give each node the column
after its last predecessor; put a *bend* into each column that a long arrow passes; and order the columns by
sweeping over them, each node at the mean place of its neighbours, until there are no fewer crossings.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from fdl_schemas.diagram.diagram import Diagram

_SWEEPS: Final = 12
_MOST_BENDS: Final = 4000
"""With more, long arrows run straight, across what is in between."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Where everything stands, without measures. What stands in a column is a node (its index in the diagram)
    or a bend (numbered after the nodes).
    """

    columns: tuple[tuple[int, ...], ...]
    """From left to right; in each from top to bottom."""
    column_of: tuple[int, ...]
    """For each node and bend."""
    bends: tuple[tuple[int, ...], ...]
    """For each edge the bends that it passes, from its source to its target."""
    backward: frozenset[int]
    """The edges that lead to the left. Their bends begin in the source's column and end in the target's."""
    neighbours: tuple[tuple[int, ...], ...]
    """For each node and bend what it is connected with in the columns beside its own."""


def ranks(diagram: Diagram) -> Ranks:
    """Gives every node of a diagram its place in a column."""
    count = len(diagram.nodes)
    ends = [(edge.source, edge.target) for edge in diagram.edges]
    backward = _backward(count, ends)
    forward = [(b, a) if number in backward else (a, b) for number, (a, b) in enumerate(ends)]
    column_of = _columns(count, forward)
    bends: list[tuple[int, ...]] = []
    links: list[tuple[int, int]] = []
    beside: dict[int, int] = {}  # bends in the same column as the node that they belong to
    spans = [
        (column_of[a], column_of[b] + 1) if number in backward else (column_of[a] + 1, column_of[b])
        for number, (a, b) in enumerate(forward)
    ]
    many = sum(stop - start for start, stop in spans) > _MOST_BENDS
    for number, (start, stop) in enumerate(spans):
        source, target = forward[number]
        is_back = number in backward
        passed = range(start, stop) if is_back or not many else range(0)
        own = list(range(len(column_of), len(column_of) + len(passed)))
        column_of += passed
        chain = own if is_back else [source, *own, target]
        links += pairwise(chain)
        if is_back:
            beside[own[0]], beside[own[-1]] = source, target
        bends.append(tuple(reversed(own)) if is_back else tuple(own))
    neighbours: list[list[int]] = [[] for _ in column_of]
    for one, other in links:
        if column_of[one] != column_of[other]:
            neighbours[one].append(other)
            neighbours[other].append(one)
    columns: list[list[int]] = [[] for _ in range(max(column_of, default=-1) + 1)]
    for node, column in enumerate(column_of):
        columns[column].append(node)
    # Whatever leads back starts just below the node that it leads to.
    first = {bend: ends[number][1] + 0.5 for number in backward for bend in bends[number]}
    for items in columns:
        items.sort(key=lambda item: first.get(item, item))
    _order(columns, column_of, neighbours, beside)
    return Ranks(
        tuple(map(tuple, columns)),
        tuple(column_of),
        tuple(bends),
        frozenset(backward),
        tuple(map(tuple, neighbours)),
    )


def _backward(count: int, ends: Sequence[tuple[int, int]]) -> set[int]:
    """The edges that lead back to where a search from the beginnings came from (and that close a loop)."""
    leaving: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    entered = [0] * count
    for number, (source, target) in enumerate(ends):
        leaving[source].append((number, target))
        entered[target] += 1
    found: set[int] = set()
    state = [0] * count  # 1 on the way, 2 done
    for start in sorted(range(count), key=lambda node: entered[node] > 0):
        if state[start]:
            continue
        state[start] = 1
        way = [(start, iter(leaving[start]))]
        while way:
            node, rest = way[-1]
            for number, target in rest:
                if state[target] == 1:
                    found.add(number)
                elif state[target] == 0:
                    state[target] = 1
                    way.append((target, iter(leaving[target])))
                    break
            else:
                state[node] = 2
                way.pop()
    return found


def _columns(count: int, forward: Sequence[tuple[int, int]]) -> list[int]:
    """The column after the last predecessor; for what has none, the one before its first successor."""
    after: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for source, target in forward:
        after[source].append(target)
        waiting[target] += 1
    column_of = [0] * count
    beginnings = ready = [node for node in range(count) if not waiting[node]]
    while ready:
        following = []
        for node in ready:
            for target in after[node]:
                column_of[target] = max(column_of[target], column_of[node] + 1)
                waiting[target] -= 1
                if not waiting[target]:
                    following.append(target)
        ready = following
    for node in beginnings:
        if after[node]:
            column_of[node] = min(column_of[target] for target in after[node]) - 1
    return column_of


def _order(
    columns: list[list[int]],
    column_of: Sequence[int],
    neighbours: Sequence[Sequence[int]],
    beside: dict[int, int],
) -> None:
    """Sorts each column in place."""
    place = {node: float(index) for column in columns for index, node in enumerate(column)}

    def mean(node: int, column: int) -> float:
        places = [place[other] for other in neighbours[node] if column_of[other] == column]
        if node in beside:
            places.append(place[beside[node]] + 0.5)
        return sum(places) / len(places) if places else place[node]

    best, fewest = [list(column) for column in columns], _crossings(columns, column_of, neighbours)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        to_the_right = sweep % 2 == 0
        numbers = range(1, len(columns)) if to_the_right else range(len(columns) - 2, -1, -1)
        for number in numbers:
            other = number - 1 if to_the_right else number + 1
            wanted = {node: mean(node, other) for node in columns[number]}
            columns[number].sort(key=_by(wanted))
            place.update((node, float(index)) for index, node in enumerate(columns[number]))
        crossings = _crossings(columns, column_of, neighbours)
        if crossings < fewest:
            best, fewest = [list(column) for column in columns], crossings
    columns[:] = best


def _by(wanted: dict[int, float]) -> Callable[[int], float]:
    return lambda node: wanted[node]


def _crossings(
    columns: Sequence[Sequence[int]], column_of: Sequence[int], neighbours: Sequence[Sequence[int]]
) -> int:
    """How many pairs of arrows between neighbouring columns cross each other."""
    place = {node: index for column in columns for index, node in enumerate(column)}
    total = 0
    for number, column in enumerate(columns):
        passed: list[int] = []
        for node in column:
            ends = sorted(place[other] for other in neighbours[node] if column_of[other] == number + 1)
            for end in ends:
                total += len(passed) - bisect_left(passed, end + 1)
            for end in ends:
                insort(passed, end)
    return total
