"""A workflow as a diagram: folders, functions, the files between them, and loops in red.

    diagram.py    from the readable parts of a file to nodes and edges
    direction.py  left to right or top down, so that the diagram fits a page
    dot.py        a diagram as DOT, the language of Graphviz
    mermaid.py    a diagram as Mermaid
    colours.py    the colours of both, in light and in dark

All output is text. `scar_cli/drawing/` converts DOT to SVG and PNG.
"""
