"""SVG to PNG, by resvg (PyPI package `resvg-py`).

Letters are drawn with the font Arimo of the npm package `@expo-google-fonts/arimo`, so that pictures are the
same on all machines, also on those without fonts. Letters that Arimo does not have (such as Chinese) are
drawn with a font of the machine.
"""

from __future__ import annotations

import re
from typing import Final

from scar_cli.errors import UserError
from toolchain.node_packages import node_packages

_PIXELS_PER_UNIT: Final = 2
"""Sharp on today's screens."""
_MOST_PIXELS: Final = 120_000_000
_SIZE: Final = re.compile(r' (?:width|height)="([\d.]+)"')


def png(svg: str) -> bytes:
    """The content of a PNG file of an SVG file of `svg`.

    Raises:
        UserError: a package is missing, or the picture is too large.
    """
    width, height = map(float, _SIZE.findall(svg)[:2])
    if width * height * _PIXELS_PER_UNIT**2 > _MOST_PIXELS:
        raise UserError("The workflow is too large for a PNG file", "Draw an .svg: it has no limit")
    arimo = node_packages() / "@expo-google-fonts" / "arimo"
    fonts = [arimo / "400Regular" / "Arimo_400Regular.ttf", arimo / "700Bold" / "Arimo_700Bold.ttf"]
    try:
        import resvg_py
    except ImportError:
        raise UserError(
            "PNG needs the Python package resvg-py",
            'Install it (`pip install "scar-cdk[graph]"`), or draw an .svg',
        ) from None
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg,
            zoom=_PIXELS_PER_UNIT,
            font_files=[str(font) for font in fonts],
            sans_serif_family="Arimo",
        )
    )
