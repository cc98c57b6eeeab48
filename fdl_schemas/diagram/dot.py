"""A diagram as DOT, the language of Graphviz."""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import escape

from fdl_schemas.diagram.colours import BUCKET_COLOURS, DANGER_COLOURS, KIND_COLOURS, LIGHT
from fdl_schemas.diagram.diagram import Diagram, Edge, Kind, Node
from fdl_schemas.diagram.direction import Direction
from fdl_schemas.graph import Danger

FONT: Final = "Arial"
"""Graphviz in WebAssembly knows the widths of Arial without the font. Helvetica, Arimo and Liberation Sans
have the same widths."""
_LARGE: Final = 100
"""Number of nodes from which the layout has fewer iterations and straight edges, which saves minutes."""
_FAST: Final = "nslimit=0.1, nslimit1=0.1, mclimit=0.1, splines=line, "
_LONGEST_TEXT: Final = 36
_LONGEST_LABEL: Final = 28


def dot(diagram: Diagram, direction: Direction) -> str:
    """The text of a Graphviz graph, with node IDs `n<index>`."""
    rank, gap = {Direction.LEFT_TO_RIGHT: ("LR", 0.45), Direction.TOP_DOWN: ("TB", 0.25)}[direction]
    title = f"<B>{_html(diagram.title, 2 * _LONGEST_TEXT)}</B>"
    fast = _FAST if len(diagram.nodes) > _LARGE else ""
    lines = [
        "digraph workflow {",
        f'    graph [{fast}rankdir={rank}, pad=0.3, nodesep=0.3, ranksep={gap}, bgcolor="{LIGHT.page}",',
        f'        fontname="{FONT}", fontsize=16, fontcolor="{LIGHT.text}",',
        f"        label=<{title}>, labelloc=t, labeljust=l]",
        f'    node [fontname="{FONT}", fontsize=11, fontcolor="{LIGHT.faint}", margin="0.1,0.06",',
        f'        style=filled, fillcolor="{LIGHT.box}", penwidth=1.5]',
        f'    edge [fontname="{FONT}", fontsize=10.5, arrowsize=0.7]',
    ]
    lines += [f"    n{index} [{_node(node)}]" for index, node in enumerate(diagram.nodes)]
    lines += [f"    {_edge(edge)}" for edge in diagram.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _node(node: Node) -> str:
    texts = [
        f'<FONT POINT-SIZE="13" COLOR="{LIGHT.text}"><B>{_html(node.title, _LONGEST_TEXT)}</B></FONT>',
        *(_html(line, _LONGEST_TEXT) for line in node.lines),
    ]
    if node.kind is Kind.FOLDER:
        colour = BUCKET_COLOURS[node.group % len(BUCKET_COLOURS)]
        return f'shape=cylinder, color="{colour}", label=<{"<BR/>".join(texts)}>'
    if node.kind is Kind.HTTP:
        colour = KIND_COLOURS[node.kind]
        return f'shape=box, style="rounded,filled", color="{colour}", label=<{"<BR/>".join(texts)}>'
    return f"shape=plain, style=solid, label=<{_table(node, texts)}>"


def _table(node: Node, texts: list[str]) -> str:
    """A box with a colored band on its left, or two bands for a function in `lambda-batch` mode."""
    colours = [KIND_COLOURS[node.kind]]
    if node.kind is Kind.LAMBDA_BATCH:
        colours.append(KIND_COLOURS[Kind.BATCH])
    half = -(-len(texts) // len(colours))
    rows = []
    for index, text in enumerate(texts):
        band = ""
        if index % half == 0:
            span = min(half, len(texts) - index)
            band = f'<TD ROWSPAN="{span}" WIDTH="8" BGCOLOR="{colours[index // half]}"></TD>'
        rows.append(f'<TR>{band}<TD ALIGN="LEFT">{text}</TD><TD WIDTH="4"></TD></TR>')
    frame, width = (LIGHT.loop, 2) if node.danger is Danger.SURE else (LIGHT.line, 1)
    return (
        f'<TABLE BORDER="{width}" COLOR="{frame}" BGCOLOR="{LIGHT.box}" CELLBORDER="0" CELLSPACING="0" '
        f'CELLPADDING="2">{"".join(rows)}</TABLE>'
    )


def _edge(edge: Edge) -> str:
    colour = DANGER_COLOURS[edge.danger]
    properties = [f'color="{colour}"', f'fontcolor="{colour if edge.danger else LIGHT.faint}"']
    if edge.label:
        properties.append(f"label=<&#160;{_html(edge.label, _LONGEST_LABEL)}&#160;>")
    if edge.dashed:
        properties.append("style=dashed")
    if edge.danger is Danger.SURE:
        properties.append("penwidth=2.5")
    return f"n{edge.source} -> n{edge.target} [{', '.join(properties)}]"


def _html(text: str, longest: int) -> str:
    """Text in an HTML-like label, shortened in the middle, because names often differ at both ends.

    A name such as `<IMG SRC="/etc/passwd"/>` must not become markup. One such as `\\G` must not be replaced
    by the name of the graph: Graphviz also does that in HTML-like labels, but only within one piece of text.
    """
    if len(text) > longest:
        text = f"{text[: longest // 2]}…{text[len(text) - longest // 2 + 1 :]}"
    return escape(text, {"\\": "<FONT>\\</FONT>", '"': "&quot;"})
