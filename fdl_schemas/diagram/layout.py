"""Gives each node of a diagram its place, and each edge its way.

Columns are as wide as their widest box, and as far apart as the words on the arrows between them need. The
heights are found as the order in `ranks` was: again and again each box is moved to the mean height of its
neighbours, as far as those above and below it let it. The best such move of a whole column at once is an
isotonic regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fdl_schemas.diagram.diagram import Diagram, Edge, Kind, Node
from fdl_schemas.diagram.ranks import Ranks, ranks
from fdl_schemas.diagram.style import (
    HEADING_SIZE,
    LABEL_SIZE,
    LINE_HEIGHT,
    TEXT_SIZE,
    TITLE_SIZE,
    shortened,
    width,
)

ICON: Final = 30.0
"""Room for the bucket at the left of a folder."""
BAND: Final = 6.0
"""Width of the coloured band at the left of a function."""
_MARGIN: Final = 28.0
_HEADING: Final = 34.0
_PADDING: Final = 12.0
_GAP: Final = 48.0
_ROW_GAP: Final = 22.0
_BEND_HEIGHT: Final = 8.0
_TURN: Final = 34.0
_ROUNDS: Final = 16

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A node and its place."""

    node: Node
    x: float
    y: float
    width: float
    height: float
    texts: tuple[tuple[Point, str], ...]
    """Where each text begins (its baseline), the first one bold."""


@dataclass(frozen=True, slots=True)
class Way:
    """An edge and its way: cubic Bézier curves, each from the end of the one before it."""

    edge: Edge
    start: Point
    curves: tuple[tuple[Point, Point, Point], ...]
    """Two control points and the end."""
    label: str
    label_at: Point
    """The middle of the label."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A picture without a format."""

    title: str
    title_at: Point
    width: float
    height: float
    boxes: tuple[Box, ...]
    ways: tuple[Way, ...]


def layout(diagram: Diagram) -> Layout:
    """Places everything."""
    return _Placing(diagram).layout()


class _Placing:
    """Measures and places of one picture."""

    def __init__(self, diagram: Diagram) -> None:
        self._diagram = diagram
        self._ranks: Ranks = ranks(diagram)
        count = len(diagram.nodes)
        self._heights = [
            (len(self._diagram.nodes[item].lines) + 1) * LINE_HEIGHT + _PADDING + 4
            if item < count
            else _BEND_HEIGHT
            for item in range(len(self._ranks.column_of))
        ]
        self._lefts, self._widths = self._place_columns()
        self._middles = self._place_rows()
        self._ports = self._place_ports()

    def layout(self) -> Layout:
        top = min(
            (middle - height / 2 for middle, height in zip(self._middles, self._heights, strict=True)),
            default=0,
        )
        self._middles = [middle - top + _MARGIN + _HEADING for middle in self._middles]
        boxes = tuple(self._box(index) for index in range(len(self._diagram.nodes)))
        ways = tuple(self._way(number) for number in range(len(self._diagram.edges)))
        bottom = max(
            (middle + height / 2 for middle, height in zip(self._middles, self._heights, strict=True)),
            default=_MARGIN + _HEADING,
        )
        right = max((box.x + box.width for box in boxes), default=0.0)
        right = max([right, *(x for way in ways for curve in way.curves for x, _ in curve)])
        title = shortened(self._diagram.title, HEADING_SIZE, bold=True, most=600)
        right = max(right, _MARGIN + width(title, HEADING_SIZE, bold=True))
        return Layout(
            title, (_MARGIN, _MARGIN + HEADING_SIZE), right + _MARGIN, bottom + _MARGIN, boxes, ways
        )

    # Columns

    def _place_columns(self) -> tuple[list[float], list[float]]:
        widths = [0.0] * len(self._ranks.columns)
        for index, node in enumerate(self._diagram.nodes):
            column = self._ranks.column_of[index]
            widths[column] = max(widths[column], _inner_width(node) + _left_of(node) + 2 * _PADDING)
        gaps = [_GAP] * len(widths)
        for number, edge in enumerate(self._diagram.edges):
            if edge.label:
                gap = self._label_gap(number)
                gaps[gap] = max(gaps[gap], width(_label(edge), LABEL_SIZE) + 40)
        lefts: list[float] = []
        x = _MARGIN
        if any(self._ranks.column_of[self._diagram.edges[back].target] == 0 for back in self._ranks.backward):
            x += _TURN
        for column_width, room in zip(widths, gaps, strict=True):
            lefts.append(x)
            x += column_width + room
        return lefts, widths

    def _label_gap(self, number: int) -> int:
        """The gap (after which column) in which the label of an edge stands."""
        edge = self._diagram.edges[number]
        source, target = self._ranks.column_of[edge.source], self._ranks.column_of[edge.target]
        if number in self._ranks.backward:
            return target if source > target else max(0, target - 1)
        return target - 1 if self._diagram.nodes[edge.source].kind is Kind.FOLDER else source

    # Rows

    def _place_rows(self) -> list[float]:
        middles = [0.0] * len(self._heights)
        for column in self._ranks.columns:
            y = 0.0
            for item in column:
                middles[item] = y + self._heights[item] / 2
                y += self._heights[item] + self._gap_below(item)
            for item in column:
                middles[item] -= y / 2
        beside = {}
        for number in self._ranks.backward:
            edge, bends = self._diagram.edges[number], self._ranks.bends[number]
            beside[bends[0]], beside[bends[-1]] = edge.source, edge.target
        columns = self._ranks.columns
        for turn in range(_ROUNDS):
            for column in columns if turn % 2 == 0 else columns[::-1]:
                wanted, weights = [], []
                for item in column:
                    near = [
                        (middles[other], self._weight(item, other)) for other in self._ranks.neighbours[item]
                    ]
                    if item in beside:
                        node = beside[item]
                        near.append((middles[node] + self._heights[node] / 2 + _ROW_GAP, 1.0))
                    total = sum(weight for _, weight in near)
                    mean = sum(y * weight for y, weight in near) / total if total else middles[item]
                    wanted.append(mean)
                    weights.append(total or 0.01)
                for item, y in zip(column, self._apart(column, wanted, weights), strict=True):
                    middles[item] = y
        self._straighten(middles)
        return middles

    def _straighten(self, middles: list[float]) -> None:
        """An arrow that leads back runs straight, where nothing is below it in the columns that it passes."""
        for number in self._ranks.backward:
            bends = self._ranks.bends[number]
            if all(self._ranks.columns[self._ranks.column_of[bend]][-1] == bend for bend in bends):
                lowest = max(middles[bend] for bend in bends)
                for bend in bends:
                    middles[bend] = lowest

    def _weight(self, one: int, other: int) -> float:
        """Long arrows pull harder, so that they become straight."""
        count = len(self._diagram.nodes)
        return (1.0, 2.0, 8.0)[(one >= count) + (other >= count)]

    def _gap_below(self, item: int) -> float:
        return _ROW_GAP if item < len(self._diagram.nodes) else _ROW_GAP / 2

    def _apart(self, column: Sequence[int], wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
        """The heights nearest to the wanted ones at which nothing overlaps (pool adjacent violators)."""
        offsets, offset = [], 0.0
        for index, item in enumerate(column):
            if index:
                above = column[index - 1]
                offset += (self._heights[above] + self._heights[item]) / 2 + self._gap_below(above)
            offsets.append(offset)
        pools: list[tuple[float, float, int]] = []  # mean, weight, how many
        for y, weight, offset in zip(wanted, weights, offsets, strict=True):
            mean, total, count = y - offset, weight, 1
            while pools and pools[-1][0] > mean:
                other_mean, other_total, other_count = pools.pop()
                mean = (mean * total + other_mean * other_total) / (total + other_total)
                total, count = total + other_total, count + other_count
            pools.append((mean, total, count))
        means = [mean for mean, _, count in pools for _ in range(count)]
        return [mean + offset for mean, offset in zip(means, offsets, strict=True)]

    # Edges

    def _place_ports(self) -> dict[tuple[int, bool], float]:
        """For each edge, and whether it is about its end: how far from the middle of the box it meets it."""
        sides: dict[tuple[int, bool], list[tuple[float, int, bool]]] = {}
        for number, edge in enumerate(self._diagram.edges):
            bends = self._ranks.bends[number]
            first = bends[0] if bends else edge.target
            last = bends[-1] if bends else edge.source
            sides.setdefault((edge.source, False), []).append((self._middles[first], number, False))
            sides.setdefault((edge.target, True), []).append((self._middles[last], number, True))
        ports = {}
        for (node, _), ends in sides.items():
            step = min(14.0, (self._heights[node] - 12) / len(ends))
            for place, (_, number, is_end) in enumerate(sorted(ends)):
                ports[number, is_end] = (place - (len(ends) - 1) / 2) * step
        return ports

    def _way(self, number: int) -> Way:
        edge, bends = self._diagram.edges[number], self._ranks.bends[number]
        is_back = number in self._ranks.backward
        source, target = (self._ranks.column_of[node] for node in (edge.source, edge.target))
        start = (
            self._lefts[source] + self._widths[source],
            self._middles[edge.source] + self._ports[number, False],
        )
        end = (self._lefts[target], self._middles[edge.target] + self._ports[number, True])
        curves: list[tuple[Point, Point, Point]] = []
        here = start
        for place, bend in enumerate(bends):
            column, y = self._ranks.column_of[bend], self._middles[bend]
            near, far = self._lefts[column], self._lefts[column] + self._widths[column]
            if is_back:
                near, far = far, near
            curves.append(_turn(here, (near, y), _TURN) if is_back and not place else _bow(here, (near, y)))
            curves.append(((near, y), (far, y), (far, y)))
            here = (far, y)
        curves.append(_turn(here, end, -_TURN) if is_back else _bow(here, end))
        # The words stand in the gap that was made wide enough for them.
        is_first = not is_back and self._diagram.nodes[edge.source].kind is not Kind.FOLDER
        piece = 0 if is_first else len(curves) - 1
        if is_back:
            piece = min(len(curves) - 1, 2) if len(bends) > 1 else 1
        before = curves[piece - 1][2] if piece else start
        return Way(edge, start, tuple(curves), _label(edge), _middle(before, curves[piece]))

    def _box(self, index: int) -> Box:
        node, column = self._diagram.nodes[index], self._ranks.column_of[index]
        x, y = self._lefts[column], self._middles[index] - self._heights[index] / 2
        left = x + _left_of(node) + _PADDING
        texts = [((left, y + _PADDING / 2 + LINE_HEIGHT - 2), shortened(node.title, TITLE_SIZE, bold=True))]
        texts += [
            ((left, y + _PADDING / 2 + LINE_HEIGHT * (number + 2) - 2), shortened(line, TEXT_SIZE))
            for number, line in enumerate(node.lines)
        ]
        return Box(node, x, y, self._widths[column], self._heights[index], tuple(texts))


def _inner_width(node: Node) -> float:
    texts = [width(shortened(line, TEXT_SIZE), TEXT_SIZE) for line in node.lines]
    return max([width(shortened(node.title, TITLE_SIZE, bold=True), TITLE_SIZE, bold=True), *texts])


def _left_of(node: Node) -> float:
    return ICON if node.kind is Kind.FOLDER else BAND


def _label(edge: Edge) -> str:
    return shortened(edge.label, LABEL_SIZE, most=160)


def _bow(start: Point, end: Point) -> tuple[Point, Point, Point]:
    middle = (start[0] + end[0]) / 2
    return (middle, start[1]), (middle, end[1]), end


def _turn(start: Point, end: Point, reach: float) -> tuple[Point, Point, Point]:
    """A half turn: out to the right (or, with a negative reach, to the left) and back."""
    edge = (max if reach > 0 else min)(start[0], end[0]) + reach * 1.3
    return (edge, start[1]), (edge, end[1]), end


def _middle(start: Point, curve: tuple[Point, Point, Point]) -> Point:
    """The point half way along a curve."""
    one, two, end = curve
    return (
        (start[0] + 3 * one[0] + 3 * two[0] + end[0]) / 8,
        (start[1] + 3 * one[1] + 3 * two[1] + end[1]) / 8,
    )
