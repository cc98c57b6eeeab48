"""A workflow as a diagram: folders, functions, the files that pass between them, and loops in red.

    diagram.py    from a file, as far as it can be read, to nodes and edges
    direction.py  left to right or top down, so that the diagram fits a page
    dot.py        a diagram as DOT, the language of Graphviz
    mermaid.py    a diagram as Mermaid
    colours.py    the colours of both, in light and in dark

All of it is text. `scar_cli/drawing/` turns DOT into SVG and PNG.
"""
