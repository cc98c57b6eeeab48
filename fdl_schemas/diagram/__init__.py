"""A workflow as a picture: folders, functions, what passes between them, loops in red.

1. `diagram` makes nodes and edges of a file, as far as it could be read; 2. `ranks` puts them into columns,
in which data flows from left to right, and into an order with few crossings; 3. `layout` gives each its
place, and each edge its way; 4. `svg` and `png` draw what `layout` has placed, `mermaid` writes the diagram
as text, for others to lay out. `style` has the colours and the widths of texts.

All of it is made here, so that a picture needs no program that a stranger's machine may not have; PNG alone
needs Pillow.
"""
