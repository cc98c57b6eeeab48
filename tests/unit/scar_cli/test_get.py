"""Where downloaded files may land, whatever their keys say."""

from __future__ import annotations

from pathlib import Path

import pytest

from scar_cli.aws.receiving import UnsafeKeyError, safe_path


@pytest.mark.parametrize(
    "below", ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".", "..", "a/.", "a\0b", "a/"]
)
def test_a_key_that_names_no_file_below_the_target_is_refused(tmp_path: Path, below: str) -> None:
    with pytest.raises(UnsafeKeyError):
        safe_path(tmp_path / "target", below)


@pytest.mark.parametrize("below", ["a b+c.jpg", "ü/ñ.png", "-rf", "..x/y..", "new\nline", "~root", "C:\\x"])
def test_odd_names_that_stay_inside_are_kept_as_they_are(tmp_path: Path, below: str) -> None:
    assert safe_path(tmp_path, below) == tmp_path / below


def test_a_link_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "target" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(UnsafeKeyError, match="link"):
        safe_path(tmp_path / "target", "link/x")


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(UnsafeKeyError, match="folder"):
        safe_path(tmp_path, "x")
