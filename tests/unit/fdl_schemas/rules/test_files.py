"""Files that an FDL file names: what cannot be packaged is told before anything is packaged."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from fdl_schemas.load import check
from fdl_schemas.rules.files import MAX_PAYLOAD_BYTES
from tests.oci_images import Image, docker_save


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"weights")
    return folder


def messages(folder: Path, payload: str = "models") -> list[str]:
    file = folder / "workflow.yaml"
    file.write_text(
        f"functions: {{aws: [{{lambda: {{name: f, extra_payload: {payload}, container: {{image: a}}}}}}]}}\n"
    )
    return [f"{found.code} {found.line}:{found.column} {found.message}" for found in check(file).diagnostics]


def test_links_to_files_and_folders_may_be_packaged(payload: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "labels.txt").touch()
    (payload / "file").symlink_to("weights.bin")
    (payload / "folder").symlink_to("../elsewhere")
    (payload / "sub" / "again").symlink_to("../../elsewhere")
    assert messages(tmp_path) == []


def test_link_to_nothing_is_named(payload: Path, tmp_path: Path) -> None:
    (payload / "sub" / "latest").symlink_to("v7")
    assert messages(tmp_path) == ["FDL022 1:53 `extra_payload` `models` contains `sub/latest`, a broken link"]


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_link_that_leads_back_is_named(target: str, payload: Path, tmp_path: Path) -> None:
    (payload / "sub" / "all").symlink_to(target)
    (found,) = messages(tmp_path)
    assert found.endswith("a link to a folder that contains it")


def test_pipe_and_socket_are_named_without_waiting_for_them(payload: Path, tmp_path: Path) -> None:
    os.mkfifo(payload / "pipe")
    (found,) = messages(tmp_path)
    assert found.endswith("`extra_payload` `models` contains `pipe`, neither a file nor a folder")
    (payload / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(payload / "socket"))
        (found,) = messages(tmp_path)
    assert found.endswith("`extra_payload` `models` contains `socket`, neither a file nor a folder")


@pytest.mark.parametrize("name", ["models", "models/weights.bin"])
def test_more_than_lambda_takes_is_refused(name: str, payload: Path, tmp_path: Path) -> None:
    os.truncate(payload / "weights.bin", MAX_PAYLOAD_BYTES)
    assert messages(tmp_path, name) == []
    os.truncate(payload / "weights.bin", MAX_PAYLOAD_BYTES + 1)
    (found,) = messages(tmp_path, name)
    assert found.endswith(f"`extra_payload` `{name}` is too large for a function's package")


def test_endless_folder_is_not_looked_at_without_end(
    payload: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fdl_schemas.rules.files.MAX_PAYLOAD_FILES", 3)
    for number in range(10):
        (payload / "sub" / str(number)).touch()
    (found,) = messages(tmp_path)
    assert found.endswith("`extra_payload` `models` has too many files")


def test_what_the_cdk_wrote_does_not_count(payload: Path, tmp_path: Path) -> None:
    (payload / "cdk.out").mkdir()
    (payload / "cdk.out" / "link").symlink_to("nowhere")
    (payload / "other").mkdir()
    (payload / "other" / "cdk.out").write_text('{"version": "48.0.0"}')
    (payload / "other" / "link").symlink_to("nowhere")
    assert messages(tmp_path) == []


@pytest.mark.usefixtures("modes_count")
@pytest.mark.parametrize("name", ["weights.bin", "sub"])
def test_what_may_not_be_read_is_named(name: str, payload: Path, tmp_path: Path) -> None:
    (payload / name).chmod(0)
    (found,) = messages(tmp_path)
    (payload / name).chmod(0o700)
    assert f"contains `{name}`, a f" in found
    assert found.endswith("that cannot be read")


@pytest.mark.parametrize("error", [PermissionError, OSError])
def test_folder_that_may_not_be_entered_is_named(
    error: type[OSError], payload: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat, scandir = os.stat, os.scandir

    def closed_stat(path: str | Path, **options: bool) -> os.stat_result:
        if Path(path).parent == payload / "sub":
            raise error(13, "Permission denied")
        return stat(path, **options)

    def closed_scandir(path: Path) -> object:
        if path == payload / "sub":
            raise error(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "stat", closed_stat)
    monkeypatch.setattr(os, "scandir", closed_scandir)
    (found,) = messages(tmp_path)
    assert found.endswith("`extra_payload` `models` contains `sub`, a folder that cannot be read")


def test_problem_of_a_payload_is_said_once_for_all_functions(payload: Path, tmp_path: Path) -> None:
    (payload / "latest").symlink_to("v7")
    function = "lambda: {name: %s, extra_payload: models, container: {image: a}}"
    file = tmp_path / "workflow.yaml"
    file.write_text(f"functions: {{aws: [{{{function % 'a'}}}, {{{function % 'b'}}}]}}\n")
    assert [found.code for found in check(file).diagnostics] == ["FDL022"]


def test_a_link_of_the_payload_that_leads_out_is_an_error(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "models" / "sub").mkdir(parents=True)
    (tmp_path / "credentials").write_text("of somebody")
    (tmp_path / "private").mkdir()
    for number, target in enumerate(("../../credentials", "../../private", str(tmp_path / "credentials"))):
        link = project / "models" / f"link{number}"
        link.symlink_to(target)
        assert messages(project) == [
            f"FDL022 1:53 `extra_payload` `models` contains `link{number}`, "
            "a link that points outside the FDL file's folder"
        ]
        link.unlink()
    (project / "shared").symlink_to("../private")
    (project / "models" / "sub" / "link").symlink_to("../../shared")
    (found,) = messages(project)
    assert found.endswith("contains `sub/link`, a link that points outside the FDL file's folder")


def test_files_that_lead_out_get_a_warning_with_their_place(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "shared").mkdir()
    docker_save(tmp_path / "shared" / "file", Image([]))
    (project / "link").symlink_to("../shared/file")
    (project / "folder").symlink_to("../shared")
    (project / "here").write_text("x")
    (project / "inside").symlink_to("here")
    for name in ("../shared/file", "link", "folder/file", str(tmp_path / "shared/file")):
        for key in ("init_script", "run_script", "extra_payload"):
            (found,) = messages_of(project, f"{key}: {name}")
            place = f"FDL056 1:{len(key) + 40} `{key}` `"
            assert found.startswith(place), (found, place)
            assert "is outside the FDL file's folder" in found
        (found,) = messages_of(project, f"container: {{image_file: {name}}}", image="")
        assert found.startswith("FDL056 1:62 `image_file` `")
    for name in ("here", "inside", "./here", "../project/here", str(project / "here")):
        assert messages_of(project, f"init_script: {name}") == []
    (found,) = messages_of(project, "init_script: link")
    assert found.endswith(f"at `{tmp_path / 'shared/file'}`")


def messages_of(folder: Path, setting: str, image: str = ", container: {image: a}") -> list[str]:
    file = folder / "workflow.yaml"
    file.write_text(f"functions: {{aws: [{{lambda: {{name: f, {setting}{image}}}}}]}}\n")
    return [f"{found.code} {found.line}:{found.column} {found.message}" for found in check(file).diagnostics]


def test_the_folder_of_the_fdl_file_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "script.sh").touch()
    (tmp_path / "linked").symlink_to("real")
    assert messages_of(tmp_path / "linked", "init_script: script.sh") == []


def test_a_folder_whose_name_begins_alike_is_outside(tmp_path: Path) -> None:
    for name in ("project", "project-of-others"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    (found,) = messages_of(tmp_path / "project", "init_script: ../project-of-others/file")
    assert found.startswith("FDL056")


def test_the_sizes_of_a_payloads_files_add_up(payload: Path, tmp_path: Path) -> None:
    half = MAX_PAYLOAD_BYTES // 2
    for name, size in (("weights.bin", half), ("sub/more.bin", MAX_PAYLOAD_BYTES - half)):
        (payload / name).touch()
        os.truncate(payload / name, size)
    assert messages(tmp_path) == []
    (payload / "a").write_bytes(b"1")
    (found,) = messages(tmp_path)
    assert found.endswith("`extra_payload` `models` is too large for a function's package")
