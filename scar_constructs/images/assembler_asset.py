"""The code of the assembler: its handler, and the libraries that are in images but not in the layer."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from scar_constructs.functions.compiled_libraries import add_libraries_of_images
from scar_constructs.functions.handler_function import handler_file
from scar_constructs.functions.runner_asset import folder_of_this_process
from toolchain.runner_libraries import runner_libraries


@cache
def assembler_folder() -> Path:
    """The code in a temporary folder of this process, which is removed when the process ends."""
    folder = folder_of_this_process("scar-assembler-")
    shutil.copy(handler_file("assembler"), folder)
    add_libraries_of_images(folder, runner_libraries())
    return folder
