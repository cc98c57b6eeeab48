"""`scar new`: the folder that it creates is valid and whole, and nothing is overwritten or left behind."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from fdl_schemas.load import check
from scar_cli.commands.new import KINDS, TEMPLATES
from scar_cli.errors import UserError
from scar_cli.main import scar

PLACEHOLDER = re.compile(r"__[A-Z]+__")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def new(*words: str) -> Result:
    return CliRunner().invoke(scar, ["new", *words])


def error(*words: str) -> str:
    result = new(*words)
    assert isinstance(result.exception, UserError), result.exception
    assert result.exception.exit_code == 2
    return str(result.exception)


@pytest.mark.parametrize("template", KINDS)
def test_a_new_folder_is_whole_and_valid(template: str, tmp_path: Path) -> None:
    result = new("my-words", "--template", template)
    assert result.exit_code == 0, result.exception
    assert "cdk deploy -c fdl=my-words.yaml" in result.output
    assert [one.name for one in tmp_path.iterdir()] == ["my-words"]
    folder = tmp_path / "my-words"
    assert check(folder / "my-words.yaml").diagnostics == ()
    files = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    assert {
        *("my-words.yaml", "cdk.json", "README.md", "image.tar", ".gitignore"),
        *(".gitlab-ci.yml", ".github/workflows/deploy.yml"),
    } <= set(files)
    for name, file in files.items():
        if name != "image.tar":
            text = file.read_text()
            assert not PLACEHOLDER.search(name + text), name
            assert bool(stat.S_IMODE(file.stat().st_mode) & 0o100) == text.startswith("#!"), name
    assert json.loads(files["cdk.json"].read_text()) == {
        "app": "scar-app", "output": "cdk.out", "versionReporting": False
    }  # fmt: skip
    assert {"cdk.out/", "image.tar"} <= set(files[".gitignore"].read_text().split())
    for pipeline in (".gitlab-ci.yml", ".github/workflows/deploy.yml"):
        assert yaml.safe_load(files[pipeline].read_text())
    readme = files["README.md"].read_text()
    for line in ("scar local start", "cdk deploy -c fdl=my-words.yaml", "-c bucket_suffix=", "cdk destroy"):
        assert line in readme


@pytest.mark.parametrize(
    "name", ["My-words", "words_", "1words", "-words", "words-", "w", "w" * 41, "a/b", "..", "", "wörter"]
)
def test_names_that_cannot_name_functions_and_buckets_are_refused(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(scar, ["new", "--", name])
    assert "Use 2 to 40 lower-case letters" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_reserved_names_of_buckets_are_refused() -> None:
    assert "names that start with `sthree-` are reserved" in error("sthree-words")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "notes").write_text("mine")
    assert "The folder words already exists and is not empty" in error("words")
    assert [one.name for one in folder.iterdir()] == ["notes"]
    (tmp_path / "file").write_text("mine")
    assert "file already exists" in error("file")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    assert "link already exists" in error("link")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["empty", "file", "link", "words"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    assert new("words").exit_code == 0
    assert (tmp_path / "words" / "words.yaml").is_file()


def test_nothing_is_left_if_the_image_cannot_be_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "The image cannot be built" in error("words")
    assert list(tmp_path.iterdir()) == []


def test_without_linux_the_image_is_left_to_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    result = new("words")
    assert result.exit_code == 0
    assert "on Linux, for example in your CI pipeline: scar image build image -o image.tar" in result.output
    assert not (tmp_path / "words" / "image.tar").exists()


def test_templates_have_no_hidden_files_which_packages_would_leave_out() -> None:
    assert [file for file in TEMPLATES.rglob("*") if file.name.startswith(".")] == []
