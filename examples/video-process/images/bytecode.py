"""Byte code for the Python files of a layer, so that no invocation has to compile what it imports.

A container's root may be read-only or thrown away: without this every one of 68 cold processes would
compile OpenCV's and numpy's modules anew. The files are of the kind that Python takes without a look at the
source's time (PEP 552, unchecked hash), since every file of a layer is dated 1970. A fresh Python compiles,
with a fixed hash seed: what a process did before can show in the bytes, and the same inputs must give the
same image.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import py_compile
import subprocess
import sys
from pathlib import Path

from images.root_filesystem import RootFilesystem


def with_bytecode(layer: RootFilesystem, scratch: Path) -> RootFilesystem:
    """The layer, and the byte code of each `.py` file that it has from this machine, made in `scratch`."""
    work: list[tuple[str, str, str]] = []
    for path, entry in sorted(layer.entries.items()):
        if path.endswith(".py") and entry.source:
            work.append((str(entry.source), str(scratch / f"{len(work)}.pyc"), path))
    if not work:
        return layer
    # The parent's folder has to be named, as an isolated Python searches nothing else.
    folder = str(Path(__file__).parents[1])
    program = f"import sys; sys.path.insert(0, {folder!r}); from images.bytecode import *; compile_all()"
    subprocess.run(
        [sys.executable, "-SsBc", program],
        input=json.dumps(work),
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    whole = RootFilesystem(dict(layer.entries))
    for _, compiled, path in work:
        if Path(compiled).exists():
            whole.add_file(importlib.util.cache_from_source(path), Path(compiled), 0o644)
    return whole


def compile_all() -> None:
    """Compile (source, compiled file, path in the image), read as JSON from standard input."""
    for source, compiled, path in json.load(sys.stdin):
        # A file that is not Python of this version (a template, an example) is left without byte code.
        with contextlib.suppress(py_compile.PyCompileError, SyntaxError):
            py_compile.compile(
                source,
                compiled,
                f"/{path}",
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
