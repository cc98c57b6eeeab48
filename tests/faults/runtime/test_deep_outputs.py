"""Output folders that a script has nested as deep as it likes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from containers.errors import ExplainedError
from containers.removal import remove_tree
from runtime.config import StorageFolder
from runtime.logs import Log
from runtime.outputs import plan_uploads
from tests.unit.runtime.conftest import Function

OUTPUT = (StorageFolder("s3", "b", "out"),)


def nest(folder: Path, depth: int, name: str = "d", file: str | None = "file") -> Path:
    """A folder in a folder …, deeper than a path can be, with a file in the last one."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    if file is not None:
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    return folder


@pytest.mark.parametrize(("depth", "name"), [(1000, "d"), (1100, "d"), (3000, "d"), (40, "x" * 200)])
def test_file_so_deep_that_no_key_can_name_it_is_an_error(tmp_path: Path, depth: int, name: str) -> None:
    folder = tmp_path / "output"
    folder.mkdir()
    try:
        with pytest.raises(ExplainedError) as caught:
            plan_uploads(nest(folder, depth, name), OUTPUT, Log())
    finally:
        remove_tree(folder)
    assert caught.value.kind == "OutputName"
    assert f"'{name}/{name}/" in str(caught.value)
    assert "Keys have up to 1024 bytes" in str(caught.value)
    assert len(str(caught.value)) < 2500


def test_deep_folders_without_files_are_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "output"
    folder.mkdir()
    try:
        assert plan_uploads(nest(folder, 1500, file=None), OUTPUT, Log()) == {}
    finally:
        remove_tree(folder)


def test_file_five_hundred_folders_deep_is_an_output(tmp_path: Path) -> None:
    (upload,) = plan_uploads(nest(tmp_path, 500), OUTPUT, Log())["s3"]
    assert upload.key == "out/" + "d/" * 500 + "file"


def test_run_that_nests_a_thousand_folders_fails_with_a_reason_and_leaves_nothing(function: Function) -> None:
    function.deploy(
        "#!/bin/sh\ncd $TMP_OUTPUT_DIR; n=0\n"
        "while [ $n -lt 1000 ]; do mkdir d; cd d; n=$((n + 1)); done; : > file\n"
    )
    with pytest.raises(ExplainedError, match="Keys have up to 1024 bytes"):
        function.invoke({})
    assert function.leftovers() == []
