"""docs/fdl.md: written from the schema, fresh, whole, and with links that lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fdl_schemas.docs.__main__ import TARGET
from fdl_schemas.docs.reference import INTRODUCTION, document
from fdl_schemas.load import check
from tests.unit.fdl_schemas.reading.test_schema import PROPERTIES

TEXT = document()
TOP = TARGET.parents[1]


def test_file_in_the_repository_is_fresh() -> None:
    assert TARGET.read_text(encoding="utf-8") == TEXT, "run `python -m fdl_schemas.docs`"


def test_check_says_whether_it_is_stale(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fdl_schemas.docs", "--check"], cwd=TOP, check=False, timeout=60
    )
    assert done.returncode == 0


@pytest.mark.parametrize("key", sorted({path.rpartition(".")[2] for path, _ in PROPERTIES}))
def test_every_key_is_described(key: str) -> None:
    assert re.search(rf"^\| \[?`{key}`", TEXT, re.MULTILINE)


def test_table_of_aws_has_every_key() -> None:
    table = TEXT.partition("## What each key creates in AWS")[2].partition("## Not supported yet")[0]
    # Maps without an effect of their own are described by what is in them.
    silent = {"functions", "deployment"}
    for path, _ in PROPERTIES:
        key = path.rpartition(".")[2]
        assert key in silent or re.search(rf"^\| `([^`]*\.)?{key}` \| \S", table, re.MULTILINE), key


def anchor(heading: str) -> str:
    """What code hosts make of a heading."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


def test_links_lead_somewhere() -> None:
    anchors = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)}
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert len(links) > 40
    for link in links:
        if link.startswith("#"):
            assert link[1:] in anchors, link
        elif "://" not in link:
            assert (TARGET.parent / link.partition("#")[0]).is_file(), link


def test_example_of_the_introduction_is_valid(tmp_path: Path) -> None:
    (fdl,) = re.findall(r"```yaml\n(functions:\n.*?)```", INTRODUCTION.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "thumbnail.sh").touch()
    (tmp_path / "workflow.yaml").write_text(fdl)
    assert check(tmp_path / "workflow.yaml").diagnostics == ()


TRAPS = re.findall(
    r"^\| `(.+?)`.*\| \[(FDL\d{3})\]",
    TEXT.partition("## YAML pitfalls")[2].partition("\n## ")[0],
    re.MULTILINE,
)
SETTINGS = {
    "name: on": "name: on",
    "VERSION: 1.10": "environment: {Variables: {VERSION: 1.10}}",
    'on: "1"': 'environment: {Variables: {on: "1"}}',
    "memory: 512": "memory: 512\n      memory: 1024",
    "input: {path: a}": "input: {path: a}",
    "---": "memory: 512\n---\nfunctions:",
    "memory:512": "vpc: SubnetIds:subnet-0a1b2c3d",
    "path: bucket/run #1": "input:\n      - path: bucket/run #1",
    "suffix: *jpg": "input: [{path: abc, suffix: *jpg}]",
}


@pytest.mark.parametrize(("written", "code"), [trap for trap in TRAPS if "tab" not in trap[0]])
def test_yaml_traps_are_caught_as_the_table_says(written: str, code: str, tmp_path: Path) -> None:
    name = "" if written.startswith("name") else "      name: f\n"
    container = "" if written.startswith("image") else "      container: {image: a}\n"
    setting = f"container: {{{written}}}" if written.startswith("image") else SETTINGS.get(written, written)
    file = tmp_path / "w.yaml"
    file.write_text(f"functions:\n  aws:\n  - lambda:\n{name}{container}      {setting}\n")
    assert [found.code for found in check(file).diagnostics] == [code]


def test_the_table_of_traps_was_read() -> None:
    assert len(TRAPS) >= 10
