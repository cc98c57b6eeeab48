"""The code of the assembler: its handler, and the libraries that go into images but not into the layer."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from scar_constructs.functions.compiled_libraries import add_libraries_of_images
from scar_constructs.functions.handler_function import handler_file


@cache
def assembler_folder() -> Path:
    """The code in a temporary folder of this process, which is removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="scar-assembler-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copy(handler_file("assembler"), folder)
    add_libraries_of_images(folder)
    return folder
