"""Left to right or top down: the direction in which a diagram fits a page."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from fdl_schemas.diagram.diagram import Diagram, Edge, Node

PAGE_WIDTH: Final = 1200
"""Pixels: the width of a screen, minus a window's borders."""

# Estimates in pixels, for the text sizes and distances in `dot.py`.
_CHARACTER: Final = 6.2
_PADDING: Final = 34
_ROW_GAP: Final = 22
_COLUMN_GAP: Final = 46


class Direction(StrEnum):
    """The direction of the data flow, in Mermaid's terms (Graphviz uses TB for TD)."""

    LEFT_TO_RIGHT = "LR"
    TOP_DOWN = "TD"


def best_direction(diagram: Diagram) -> Direction:
    """Left to right, unless that is wider than a page and top down is narrower."""
    ranks = _ranks(len(diagram.nodes), diagram.edges)
    widths = [_width(node) for node in diagram.nodes]
    columns, rows = [0.0] * (max(ranks, default=0) + 1), [0.0] * (max(ranks, default=0) + 1)
    for rank, width in zip(ranks, widths, strict=True):
        columns[rank] = max(columns[rank], width)
        rows[rank] += width + _ROW_GAP
    gaps = [0.0] * len(columns)
    for edge in diagram.edges:
        after = min(ranks[edge.source], ranks[edge.target])
        gaps[after] = max(gaps[after], _COLUMN_GAP + len(edge.label) * _CHARACTER)
    left_to_right = sum(columns) + sum(gaps)
    if left_to_right <= PAGE_WIDTH or left_to_right <= max(rows):
        return Direction.LEFT_TO_RIGHT
    return Direction.TOP_DOWN


def _width(node: Node) -> float:
    return max(map(len, (node.title, *node.lines))) * _CHARACTER + _PADDING


def _ranks(count: int, edges: Sequence[Edge]) -> list[int]:
    """For each node, the number of edges on the longest path to it.

    The first node of a loop may be counted at the end of the loop, which does not change the width.
    """
    following: list[list[int]] = [[] for _ in range(count)]
    entered = [False] * count
    for edge in edges:
        following[edge.source].append(edge.target)
        entered[edge.target] = True
    order: list[int] = []  # each node after all of its successors
    seen = [False] * count
    for start in sorted(range(count), key=entered.__getitem__):
        if seen[start]:
            continue
        seen[start] = True
        path = [(start, iter(following[start]))]
        while path:
            node, rest = path[-1]
            target = next((target for target in rest if not seen[target]), None)
            if target is None:
                order.append(node)
                path.pop()
            else:
                seen[target] = True
                path.append((target, iter(following[target])))
    ranks = [0] * count
    for node in reversed(order):
        for target in following[node]:
            ranks[target] = max(ranks[target], ranks[node] + 1)
    return ranks
