"""The explanations of codes: their examples are what they claim to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from fdl_schemas.diagnostics.codes import Explanation, explanations
from fdl_schemas.diagnostics.diagnostic import FIRST_WARNING, Severity
from fdl_schemas.load import CheckResult, check
from tests.oci_images import Image, docker_save

FILES = {code: about for code, about in explanations().items() if about.language == "yaml"}
OTHERS = {"FDL054": {"FDL054"}}


def test_explanations_stand_in_the_order_of_codes() -> None:
    assert list(explanations()) == sorted(explanations())


def checked(text: str, folder: Path) -> CheckResult:
    (folder / "script.sh").touch()
    docker_save(folder / "image.tar", Image([]))
    file = folder / "workflow.yaml"
    file.write_text(text.replace("... more than 4096 characters ...", "x" * 4097))
    return check(file)


@pytest.mark.parametrize(("code", "about"), FILES.items(), ids=list(FILES))
def test_bad_example_leads_to_the_code_and_to_nothing_else(
    code: str, about: Explanation, tmp_path: Path
) -> None:
    found = checked(about.bad, tmp_path).diagnostics
    assert {one.code for one in found} == {code}
    assert {one.severity for one in found if one.code == code} == {
        Severity.WARNING if code >= FIRST_WARNING else Severity.ERROR
    }


@pytest.mark.parametrize(("code", "about"), FILES.items(), ids=list(FILES))
def test_good_example_is_good(code: str, about: Explanation, tmp_path: Path) -> None:
    assert checked(about.good, tmp_path).diagnostics == ()


def test_plain_text_has_no_links() -> None:
    assert "](" not in "".join(about.plain for about in explanations().values())
