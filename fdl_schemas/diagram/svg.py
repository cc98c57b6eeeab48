"""A layout as SVG: one file, no script, nothing from elsewhere, readable in light and in dark."""

from __future__ import annotations

from xml.sax.saxutils import escape

from fdl_schemas.diagram.diagram import Kind
from fdl_schemas.diagram.layout import BAND, ICON, Box, Layout, Point, Way
from fdl_schemas.diagram.style import (
    BUCKET_COLOURS,
    DARK,
    FONTS,
    HEADING_SIZE,
    KIND_COLOURS,
    LABEL_SIZE,
    LIGHT,
    SECOND_COLOUR,
    TEXT_SIZE,
    TITLE_SIZE,
    Palette,
)
from fdl_schemas.graph import Danger

_ENDS = {Danger.NONE: "line", Danger.POSSIBLE: "maybe", Danger.SURE: "loop"}


def svg(picture: Layout) -> str:
    """The text of an SVG file."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(picture.width)} {_n(picture.height)}" '
        f'width="{_n(picture.width)}" height="{_n(picture.height)}" role="img">',
        f"<title>{escape(picture.title)}</title>",
        f"<style>{_css()}</style>",
        f"<defs>{''.join(_arrowhead(name) for name in _ENDS.values())}</defs>",
        '<rect class="page" width="100%" height="100%" rx="8"/>',
        f'<text class="heading" {_at(picture.title_at)}>{escape(picture.title)}</text>',
        *(_line(way) for way in sorted(picture.ways, key=lambda way: way.edge.danger)),
        *(_box(box) for box in picture.boxes),
        *(_label(way) for way in picture.ways if way.label),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _css() -> str:
    # Colours stand in the rules themselves: many programs that show SVG know no variables of CSS.
    return (
        f"text{{font-family:{FONTS};font-size:{TEXT_SIZE}px}}"
        f".heading{{font-size:{HEADING_SIZE}px;font-weight:600}}.name{{font-size:{TITLE_SIZE}px;font-weight:600}}"
        f".label{{font-size:{LABEL_SIZE}px;text-anchor:middle;stroke-width:4px;stroke-linejoin:round;"
        "paint-order:stroke}.box{stroke-opacity:.55}.box.loop{stroke-opacity:1;stroke-width:2}"
        ".way{fill:none;stroke-width:1.5}.way.loop{stroke-width:2.5}.dashed{stroke-dasharray:5 4}"
        f"{_colours(LIGHT)}@media (prefers-color-scheme:dark){{{_colours(DARK)}}}"
    )


def _colours(palette: Palette) -> str:
    rules = (
        f"text{{fill:{palette.faint}}}.heading,.name{{fill:{palette.text}}}.page{{fill:{palette.page}}}"
        f".box{{fill:{palette.box};stroke:{palette.line}}}.box.loop{{stroke:{palette.loop}}}"
        f".label{{stroke:{palette.page}}}.label.loop{{fill:{palette.loop}}}.label.maybe{{fill:{palette.maybe}}}"
    )
    ends = (("line", palette.line), ("maybe", palette.maybe), ("loop", palette.loop))
    return rules + "".join(
        f".way.{name}{{stroke:{colour}}}.{name}-end{{fill:{colour}}}" for name, colour in ends
    )


def _arrowhead(name: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" markerHeight="9" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="{name}-end" d="M0 1 10 5 0 9z"/></marker>'
    )


def _line(way: Way) -> str:
    name = _ENDS[way.edge.danger]
    curves = "".join(f"C{' '.join(f'{_n(x)} {_n(y)}' for x, y in curve)}" for curve in way.curves)
    dashed = " dashed" if way.edge.dashed else ""
    start = f"M{_n(way.start[0])} {_n(way.start[1])}"
    return f'<path class="way {name}{dashed}" d="{start}{curves}" marker-end="url(#{name})"/>'


def _label(way: Way) -> str:
    x, y = way.label_at
    return f'<text class="label {_ENDS[way.edge.danger]}" {_at((x, y - 4))}>{escape(way.label)}</text>'


def _box(box: Box) -> str:
    node = box.node
    full = escape(" / ".join((node.title, *node.lines)))
    shape = f'x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" height="{_n(box.height)}"'
    loop = " loop" if node.danger is Danger.SURE else ""
    parts = [f"<g><title>{full}</title>", f'<rect class="box{loop}" {shape} rx="7"/>']
    parts.append(_bucket(box) if node.kind is Kind.FOLDER else _band(box))
    for number, (place, text) in enumerate(box.texts):
        name = ' class="name"' if number == 0 else ""
        parts.append(f"<text{name} {_at(place)}>{escape(text)}</text>")
    return "".join(parts) + "</g>"


def _band(box: Box) -> str:
    """The band at the left: round at the outer corners, straight inside."""
    x, y, bottom, right = box.x, box.y, box.y + box.height, box.x + BAND
    upper = f"M{_n(right)} {_n(y)}H{_n(x + 6)}Q{_n(x)} {_n(y)} {_n(x)} {_n(y + 6)}"
    lower = f"V{_n(bottom - 6)}Q{_n(x)} {_n(bottom)} {_n(x + 6)} {_n(bottom)}H{_n(right)}z"
    colour = KIND_COLOURS[box.node.kind]
    if box.node.kind is not Kind.LAMBDA_BATCH:
        return f'<path fill="{colour}" d="{upper}{lower}"/>'
    middle = _n(y + box.height / 2)
    return (
        f'<path fill="{colour}" d="{upper}V{middle}H{_n(right)}z"/>'
        f'<path fill="{SECOND_COLOUR}" d="M{_n(right)} {middle}H{_n(x)}{lower}"/>'
    )


def _bucket(box: Box) -> str:
    x, y = box.x + ICON / 2 + 5, box.y + box.height / 2
    colour = BUCKET_COLOURS[box.node.group % len(BUCKET_COLOURS)]
    return (
        f'<path fill="{colour}" fill-opacity=".85" d="M{_n(x - 9)} {_n(y - 7)}L{_n(x - 6)} {_n(y + 8)}'
        f'Q{_n(x)} {_n(y + 12)} {_n(x + 6)} {_n(y + 8)}L{_n(x + 9)} {_n(y - 7)}z"/>'
        f'<ellipse fill="{colour}" cx="{_n(x)}" cy="{_n(y - 7)}" rx="9" ry="3.5" '
        'stroke="#fff" stroke-opacity=".55"/>'
    )


def _at(place: Point) -> str:
    return f'x="{_n(place[0])}" y="{_n(place[1])}"'


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
