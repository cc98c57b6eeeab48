"""A diagram as Mermaid text, which code hosts and many editors can render."""

from __future__ import annotations

from fdl_schemas.diagram.colours import KIND_COLOURS, LIGHT
from fdl_schemas.diagram.diagram import Diagram, Edge, Kind, Node
from fdl_schemas.diagram.direction import Direction
from fdl_schemas.graph import Danger

# Escapes everything in a name that is special in Mermaid, Markdown or HTML.
_SPECIAL = {ord(character): f"#{ord(character)};" for character in "#&<>\"'`|[](){}\\;*_~"}


def mermaid(diagram: Diagram, direction: Direction) -> str:
    """The text of a Mermaid flowchart."""
    lines = ["---", f'title: "{_escaped(diagram.title)}"', "---", f"flowchart {direction}"]
    lines += [f"    n{index}{_node(node)}" for index, node in enumerate(diagram.nodes)]
    lines += [f"    {_edge(edge)}" for edge in diagram.edges]
    for kind in dict.fromkeys(node.kind for node in diagram.nodes if node.kind is not Kind.FOLDER):
        lines.append(f"    classDef {kind} stroke:{KIND_COLOURS[kind]},stroke-width:2px")
    loops = [str(number) for number, edge in enumerate(diagram.edges) if edge.danger is Danger.SURE]
    if loops:
        lines.append(
            f"    linkStyle {','.join(loops)} stroke:{LIGHT.loop},stroke-width:3px,color:{LIGHT.loop}"
        )
    maybe = [str(number) for number, edge in enumerate(diagram.edges) if edge.danger is Danger.POSSIBLE]
    if maybe:
        lines.append(f"    linkStyle {','.join(maybe)} stroke:{LIGHT.maybe},color:{LIGHT.maybe}")
    return "\n".join(lines) + "\n"


def _node(node: Node) -> str:
    text = "<br/>".join([f"<b>{_escaped(node.title)}</b>", *map(_escaped, node.lines)])
    if node.kind is Kind.FOLDER:
        return f'[("{text}")]'
    if node.kind is Kind.HTTP:
        return f'(["{text}"]):::{node.kind}'
    return f'["{text}"]:::{node.kind}'


def _edge(edge: Edge) -> str:
    arrow = "-.->" if edge.dashed else "-->"
    label = f'|"{_escaped(edge.label)}"|' if edge.label else ""
    return f"n{edge.source} {arrow}{label} n{edge.target}"


def _escaped(text: str) -> str:
    return text.translate(_SPECIAL)
