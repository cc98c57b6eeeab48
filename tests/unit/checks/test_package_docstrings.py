"""The docstring of each package lists its modules, so that a newcomer finds the place for a change."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGES = sorted(
    file.parent
    for name in ("containers", "fdl_schemas", "local_cloud", "runtime", "scar_cli", "scar_constructs")
    for file in (REPOSITORY / name).rglob("__init__.py")
)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_module_is_in_the_docstring_of_its_package(package: Path) -> None:
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    modules = [file.stem for file in package.glob("*.py") if not file.stem.startswith("__")]
    folders = [file.parent.name for file in package.glob("*/__init__.py")]
    missing = [name for name in sorted(modules + folders) if not re.search(rf"\b{name}\b", text)]
    assert missing == []
