"""Pictures of diagrams.

svg.py        DOT to SVG, by Graphviz in WebAssembly
graphviz.mjs  the program that Node runs for it
png.py        SVG to PNG, by resvg
"""
