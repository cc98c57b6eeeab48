"""Start-up time of the command line."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measure import Comparison, in_turns, process

_FUNCTION = """
    - lambda:
        name: function-{number}
        init_script: script.sh
        container: {{image: busybox}}
        input: [{{storage_provider: s3, path: bench-bucket/folder-{number}}}]
        output: [{{storage_provider: s3, path: bench-bucket/folder-{number}-out}}]"""


def compare() -> Iterator[Comparison]:
    """Compare `scar` with a Python process that only loads the libraries that it needs."""
    scar = str(Path(sys.executable).with_name("scar"))
    libraries = process([sys.executable, "-c", "import yaml, jsonschema"])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "script.sh").write_text("#!/bin/sh\n")
        ten, five_hundred = (_validate(scar, Path(folder), functions) for functions in (10, 500))
        yield in_turns("validate_vs_libraries", ten, libraries, 9)
        yield in_turns("validate_500_vs_10", five_hundred, ten, 9)
    yield in_turns("help_vs_python", process([scar, "--help"]), process([sys.executable, "-c", ""]), 9)


def _validate(scar: str, folder: Path, functions: int) -> Callable[[], object]:
    file = folder / f"{functions}.yaml"
    file.write_text(
        "functions:\n  aws:" + "".join(_FUNCTION.format(number=n) for n in range(functions)) + "\n"
    )
    return process([scar, "validate", str(file)])
