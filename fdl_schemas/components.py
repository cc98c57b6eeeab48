"""Strongly connected components of a graph: nodes that can reach each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def components(successors: Sequence[Mapping[int, int]]) -> Iterable[list[int]]:
    """The components of a graph (Tarjan), in the order of their first member; without recursion.

    `successors` has the successors of each node as keys.
    """
    count = len(successors)
    order = [-1] * count
    low = [0] * count
    on_stack = [False] * count
    stack: list[int] = []
    found: list[list[int]] = []
    visited = 0
    for start in range(count):
        if order[start] >= 0:
            continue
        work = [(start, iter(successors[start]))]
        order[start] = low[start] = visited
        visited += 1
        stack.append(start)
        on_stack[start] = True
        while work:
            node, remaining = work[-1]
            for following in remaining:
                if order[following] < 0:
                    order[following] = low[following] = visited
                    visited += 1
                    stack.append(following)
                    on_stack[following] = True
                    work.append((following, iter(successors[following])))
                    break
                if on_stack[following]:
                    low[node] = min(low[node], order[following])
            else:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])
                if low[node] == order[node]:
                    component = []
                    while True:
                        member = stack.pop()
                        on_stack[member] = False
                        component.append(member)
                        if member == node:
                            break
                    found.append(sorted(component))
    return sorted(found)
