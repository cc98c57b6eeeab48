"""DOT to SVG: one file without scripts or links, for light and dark pages.

Graphviz runs as WebAssembly in Node (npm package `@viz-js/viz`), so that no machine needs its own Graphviz.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import astuple
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from fdl_schemas.diagram.colours import DARK, LIGHT
from fdl_schemas.diagram.diagram import Diagram
from fdl_schemas.diagram.direction import Direction
from fdl_schemas.diagram.dot import FONT, dot
from scar_cli.errors import UserError
from toolchain.node import any_node
from toolchain.node_packages import node_packages

_PROGRAM: Final = Path(__file__).with_name("graphviz.mjs")
_TIMEOUT_S: Final = 60
_WITHOUT: Final = (
    'Install it (pip install "scar-cdk[graph]"), or choose a text format: --format mermaid or --format dot'
)
FONTS: Final = f"Arimo, {FONT}, Helvetica, 'Liberation Sans', sans-serif"
"""All but the last are equally wide."""
_START: Final = re.compile(r"\A.*?<svg\b.*?viewBox=\"0\.00 0\.00 ([\d.]+) ([\d.]+)\"[^>]*>\n", re.DOTALL)
_TITLE: Final = re.compile(r"<title>(?:n(\d+)(?:&#45;&gt;n(\d+))?|workflow)</title>\n")
_COMMENT: Final = re.compile(r"<!-- [^>]* -->\n")


def svg(diagram: Diagram, direction: Direction) -> str:
    """The text of an SVG file; one unit is one pixel.

    Raises:
        UserError: Node or Graphviz is missing, or the diagram is too large for Graphviz.
    """
    drawn = _graphviz(dot(diagram, direction))
    start = _START.match(drawn)
    assert start is not None  # noqa: S101 - each SVG file of Graphviz starts like this

    def title(found: re.Match[str]) -> str:
        ends = [diagram.nodes[int(number)] for number in found.groups() if number]
        if not ends:
            return ""
        # All of the text: that of the labels is cut where it is long.
        text = " → ".join(
            " / ".join((node.title, *node.lines) if len(ends) == 1 else (node.title,)) for node in ends
        )
        return f"<title>{escape(text)}</title>\n"

    body = _TITLE.sub(title, _COMMENT.sub("", drawn[start.end() :]))
    width, height = start.groups()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img">\n'
        f"<title>{escape(diagram.title)}</title>\n<style>{_css()}</style>\n{body}"
    )


def _css() -> str:
    """Fonts, and for dark pages the dark colour of each light one."""
    pairs = zip(astuple(LIGHT), astuple(DARK), strict=True)
    dark = "".join(
        f'[fill="{light}"]{{fill:{colour}}}[stroke="{light}"]{{stroke:{colour}}}' for light, colour in pairs
    )
    return f"text{{font-family:{FONTS}}}@media (prefers-color-scheme:dark){{{dark}}}"


def _graphviz(text: str) -> str:
    node = any_node()
    if node is None:
        raise UserError("Node is not installed, but it is required to draw pictures", _WITHOUT)
    packages = node_packages()
    try:
        done = subprocess.run(
            [str(node), str(_PROGRAM), str(packages)],
            input=text.encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"The workflow is too large for Graphviz: it did not finish within {_TIMEOUT_S} s",
            "Draw a part of it, or choose a text format: --format mermaid or --format dot",
        ) from None
    except OSError as problem:
        raise UserError(f"Cannot start {node}: {problem.strerror}", _WITHOUT) from None
    if done.returncode:
        raise UserError(
            f"Graphviz failed: {done.stderr.decode(errors='replace').strip() or 'it was stopped'}",
            "Choose a text format: --format mermaid or --format dot",
        )
    return done.stdout.decode()
