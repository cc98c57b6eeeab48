"""A layout as PNG, drawn by Pillow: the one part of pictures that needs a package.

Everything is drawn larger and made smaller again, which smooths it. The letters are those that come with
Pillow, so that a machine without fonts draws the same; only texts that these cannot spell (they are ASCII and
little more) look for others.
"""

from __future__ import annotations

import math
from functools import cache
from io import BytesIO
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, Final
from unicodedata import combining, normalize

from fdl_schemas.diagram.diagram import Kind
from fdl_schemas.diagram.layout import BAND, ICON, Box, Layout, Point, Way
from fdl_schemas.diagram.style import (
    BUCKET_COLOURS,
    HEADING_SIZE,
    KIND_COLOURS,
    LABEL_SIZE,
    LIGHT,
    SECOND_COLOUR,
    TEXT_SIZE,
    TITLE_SIZE,
)
from fdl_schemas.graph import Danger

if TYPE_CHECKING:
    from PIL import ImageFont

    _Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_SCALE: Final = 2
"""Pixels of the file for each one of the layout: sharp on today's screens."""
_SMOOTHING: Final = 2
_MOST_PIXELS: Final = 120_000_000
_STEPS: Final = 24
_DASH: Final = (5.0, 4.0)
_FONTS: Final = (
    "",  # the letters that come with Pillow: ASCII and little more
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "DroidSansFallbackFull.ttf",
    "wqy-microhei.ttc",
    "msgothic.ttc",
    "Arial Unicode.ttf",
)
_PIXELS_OF_A_TRY: Final = 20
_NO_LETTER: Final = "\U0010ffff"
_COLOURS: Final = {Danger.NONE: LIGHT.line, Danger.POSSIBLE: LIGHT.maybe, Danger.SURE: LIGHT.loop}


class PillowMissingError(Exception):
    """The package Pillow is not installed."""


class TooLargeForPixelsError(Exception):
    """The picture would have more pixels than a viewer opens."""


def png(picture: Layout) -> bytes:
    """The bytes of a PNG file, on a white page.

    Raises:
        PillowMissingError: Pillow is not installed.
        TooLargeForPixelsError: the picture is too large; SVG has no limit.
    """
    try:
        from PIL import Image
    except ImportError:
        raise PillowMissingError from None
    for scale, smoothing in ((_SCALE, _SMOOTHING), (_SCALE, 1), (1, 1)):
        factor = scale * smoothing
        size = math.ceil(picture.width * factor), math.ceil(picture.height * factor)
        if size[0] * size[1] <= _MOST_PIXELS:
            break
    else:
        raise TooLargeForPixelsError
    image = Image.new("RGB", size, LIGHT.page)
    _Drawing(image, factor).draw(picture)
    if smoothing > 1:
        image = image.resize((size[0] // smoothing, size[1] // smoothing), Image.Resampling.LANCZOS)
    stream = BytesIO()
    image.save(stream, "PNG", optimize=size[0] * size[1] < _MOST_PIXELS // 10)
    return stream.getvalue()


class _Drawing:
    """Draws in the layout's measures on an image that is `factor` times as large."""

    def __init__(self, image: Any, factor: int) -> None:
        from PIL import ImageDraw

        self._draw: Any = ImageDraw.Draw(image)
        self._factor = factor

    def draw(self, picture: Layout) -> None:
        self._text(picture.title_at, picture.title, HEADING_SIZE, LIGHT.text, bold=True)
        for way in sorted(picture.ways, key=lambda way: way.edge.danger):
            self._way(way)
        for box in picture.boxes:
            self._box(box)
        for way in picture.ways:
            if way.label:
                self._label(way)

    def _box(self, box: Box) -> None:
        node, right, bottom = box.node, box.x + box.width, box.y + box.height
        is_loop = node.danger is Danger.SURE
        corners = self._scaled((box.x, box.y), (right, bottom))
        outline, line = (LIGHT.loop, 2.0) if is_loop else ("#a8b3c2", 1.0)
        radius = 7 * self._factor
        if node.kind is Kind.FOLDER:
            self._draw.rounded_rectangle(corners, radius, fill=LIGHT.box)
            self._bucket(box)
        else:
            lower = SECOND_COLOUR if node.kind is Kind.LAMBDA_BATCH else KIND_COLOURS[node.kind]
            middle = box.y + box.height / 2
            self._draw.rounded_rectangle(corners, radius, fill=lower)
            upper = self._scaled((box.x, box.y), (right, middle))
            colour = KIND_COLOURS[node.kind]
            self._draw.rounded_rectangle(upper, radius, fill=colour, corners=(True, True, False, False))
            inside = self._scaled((box.x + BAND, box.y), (right, bottom))
            self._draw.rounded_rectangle(inside, radius, fill=LIGHT.box, corners=(False, True, True, False))
        self._draw.rounded_rectangle(corners, radius, outline=outline, width=round(line * self._factor))
        for number, (place, text) in enumerate(box.texts):
            if number:
                self._text(place, text, TEXT_SIZE, LIGHT.faint)
            else:
                self._text(place, text, TITLE_SIZE, LIGHT.text, bold=True)

    def _bucket(self, box: Box) -> None:
        x, y = box.x + ICON / 2 + 5, box.y + box.height / 2
        colour = BUCKET_COLOURS[box.node.group % len(BUCKET_COLOURS)]
        side = [
            (x - 9, y - 7),
            (x - 6, y + 8),
            (x - 3, y + 10),
            (x + 3, y + 10),
            (x + 6, y + 8),
            (x + 9, y - 7),
        ]
        self._draw.polygon(self._scaled(*side), fill=colour)
        rim = self._scaled((x - 9, y - 10.5), (x + 9, y - 3.5))
        self._draw.ellipse(rim, fill=colour, outline="#ffffff", width=self._factor)

    def _way(self, way: Way) -> None:
        colour = _COLOURS[way.edge.danger]
        thick = 2.5 if way.edge.danger is Danger.SURE else 1.5
        points = [way.start]
        for one, two, end in way.curves:
            points += _flattened(points[-1], one, two, end)
        tip = points[-1]
        while len(points) > 2 and math.dist(points[-1], tip) < 8:  # noqa: PLR2004 - under the arrowhead
            points.pop()
        points.append((tip[0] - 7, tip[1]))  # every arrow arrives from the left
        for piece in _dashes(points) if way.edge.dashed else [points]:
            self._draw.line(self._scaled(*piece), colour, round(thick * self._factor), joint="curve")
        head = [tip, (tip[0] - 9, tip[1] - 3.6), (tip[0] - 9, tip[1] + 3.6)]
        self._draw.polygon(self._scaled(*head), fill=colour)

    def _label(self, way: Way) -> None:
        colour = LIGHT.faint if way.edge.danger is Danger.NONE else _COLOURS[way.edge.danger]
        x, y = way.label_at
        text, letters = spelled(way.label, round(LABEL_SIZE * self._factor))
        self._draw.text(
            (x * self._factor, (y - 4) * self._factor),
            text,
            colour,
            letters,
            anchor="ms",
            direction=_direction(letters),
            stroke_width=2 * self._factor,
            stroke_fill=LIGHT.page,
        )

    def _text(self, place: Point, text: str, size: float, colour: str, *, bold: bool = False) -> None:
        pixels = round(size * self._factor)
        text, letters = spelled(text, pixels)
        # There is no bold among the letters that come with Pillow: a thin line around them makes one.
        around = max(1, pixels // 36) if bold else 0
        self._draw.text(
            self._scaled(place)[0],
            text,
            colour,
            letters,
            anchor="ls",
            stroke_width=around,
            direction=_direction(letters),
        )

    def _scaled(self, *points: Point) -> list[Point]:
        return [(x * self._factor, y * self._factor) for x, y in points]


def _flattened(start: Point, one: Point, two: Point, end: Point) -> list[Point]:
    points = []
    for step in range(1, _STEPS + 1):
        t = step / _STEPS
        a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        points.append(
            (
                a * start[0] + b * one[0] + c * two[0] + d * end[0],
                a * start[1] + b * one[1] + c * two[1] + d * end[1],
            )
        )
    return points


def _dashes(points: list[Point]) -> list[list[Point]]:
    """A line in pieces."""
    pieces: list[list[Point]] = [[points[0]]]
    drawn, left = True, _DASH[0]
    for start, end in pairwise(points):
        here, rest = start, math.dist(start, end)
        while rest > left:
            share = left / rest
            here = (here[0] + (end[0] - here[0]) * share, here[1] + (end[1] - here[1]) * share)
            rest -= left
            if drawn:
                pieces[-1].append(here)
            else:
                pieces.append([here])
            drawn = not drawn
            left = _DASH[0] if drawn else _DASH[1]
        left -= rest
        if drawn:
            pieces[-1].append(end)
    return [piece for piece in pieces if len(piece) > 1]


def spelled(text: str, pixels: int) -> tuple[str, _Font]:
    """A text and the font to draw it with: the first that has all of its letters, or else most of them."""
    # Where nothing has its accents, a name is still better read without them.
    plain = "".join(letter for letter in normalize("NFD", text) if not combining(letter))
    fewest, best = len(text) + 1, (text, font("", pixels))
    for shown, name in product((text, plain), _FONTS):
        letters = font(name, pixels)
        if letters is None:
            continue
        missing = sum(not _has(name, letter) for letter in shown)
        if missing < fewest:
            fewest, best = missing, (shown, letters)
        if missing == 0:  # the usual case, in which no font of this machine is looked for
            break
    shown, chosen = best
    assert chosen is not None  # noqa: S101 - Pillow's own is always there
    return shown, chosen


@cache
def font(name: str, pixels: int) -> _Font | None:
    """A font of this machine, if it is there; without a name, Pillow's own."""
    from PIL import ImageFont

    if not name:
        return ImageFont.load_default(pixels)
    try:
        return ImageFont.truetype(name, pixels)
    except OSError:
        return None


@cache
def _has(name: str, letter: str) -> bool:
    """Whether a font has a letter: what it has not looks like what no font has."""
    tried = font(name, _PIXELS_OF_A_TRY)
    assert tried is not None  # noqa: S101 - asked of fonts that are there
    return letter.isspace() or bytes(tried.getmask(letter)) != bytes(tried.getmask(_NO_LETTER))


def _direction(letters: _Font) -> str | None:
    """Of all texts: paths are read from left to right, also where their names are Arabic or Hebrew."""
    from PIL import ImageFont

    return "ltr" if getattr(letters, "layout_engine", None) == ImageFont.Layout.RAQM else None
