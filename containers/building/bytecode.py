"""Bytecode for the Python files of a layer, so that no container compiles what it imports.

A container's root file system may be read-only or temporary: without bytecode, each cold start compiles
every module again. The files have unchecked hashes (PEP 552), because every file of a layer is dated 1970.
A new Python process with a fixed hash seed compiles them, so that the same inputs give the same bytes.
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

from containers.building.errors import BuildError
from containers.building.layer_files import LayerFiles


def with_bytecode(layer: LayerFiles, scratch: Path) -> LayerFiles:
    """The layer with the bytecode of each `.py` file that it has from the host, compiled into `scratch`."""
    work: list[tuple[str, str, str]] = []
    for path, entry in sorted(layer.entries.items()):
        if path.endswith(".py") and entry.source:
            work.append((str(entry.source), str(scratch / f"{len(work)}.pyc"), path))
    if not work:
        return layer
    # An isolated Python searches no other folder for modules.
    folder = str(Path(__file__).parents[2])
    program = f"import sys; sys.path.insert(0, {folder!r}); from {__name__} import compile_all; compile_all()"
    done = subprocess.run(
        [sys.executable, "-SsBc", program],
        input=json.dumps(work),
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise BuildError(
            f"Python files cannot be compiled: {said[-1]}", "Make room on the disk, or try again"
        )
    whole = LayerFiles(dict(layer.entries))
    for _, compiled, path in work:
        if Path(compiled).exists():
            whole.add_file(importlib.util.cache_from_source(path), Path(compiled), 0o644)
    return whole


def compile_all() -> None:
    """Compile (source, compiled file, path in the image), read as JSON from standard input."""
    for source, compiled, path in json.load(sys.stdin):
        # A file that is not Python of this version (a template, an example) gets no bytecode.
        with contextlib.suppress(py_compile.PyCompileError, SyntaxError):
            py_compile.compile(
                source,
                compiled,
                f"/{path}",
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
