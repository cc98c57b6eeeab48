"""`function_config.json` is written as the runner expects it: byte for byte one of `tests/function_config`.

`tests/unit/runtime/test_function_config.py` has the runner read the same files.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fdl_schemas.load import load_workflow
from scar_constructs.functions.function_asset import write_package
from scar_constructs.functions.provider_settings import providers_of
from tests.oci_images import Image, docker_save

FOLDER = Path(__file__).parents[1] / "function_config"
CASES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("case", CASES)
def test_what_an_fdl_file_says_is_written_as_the_runner_reads_it(case: str, tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "fdl")
    docker_save(folder / "image.tar", Image([]))
    workflow = load_workflow(folder / f"{case}.yaml")
    (function,) = workflow.functions
    (tmp_path / "package").mkdir()
    write_package(function, tmp_path / "package", providers_of(function, workflow))
    written = (tmp_path / "package" / "function_config.json").read_text(encoding="utf-8")
    assert written == (FOLDER / f"{case}.json").read_text(encoding="utf-8")
