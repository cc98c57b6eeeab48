"""The terminal pictures of the README: what a terminal shows in the end, and pictures that stand alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.pictures.make import PictureError, save
from docs.pictures.screen import Screen
from fdl_schemas.diagnostics.diagnostic import SITE

REPOSITORY = Path(__file__).resolve().parents[3]
PICTURES = sorted((REPOSITORY / "docs" / "pictures").glob("*.svg"))


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a\r\nb\r\n\r\n", "a\nb"),
        ("10 %\r50 %\r\x1b[Kdone\n", "done"),
        ("first\nsecond\n\x1b[2A\x1b[Kover\x1b[2B", "over\nsecond"),
        ("one\ntwo\nthree\x1b[2A\r\x1b[Jzero", "zero"),
        ("\x1b]0;title\x07\x1b[1;31mred\x1b[0m and not", "red and not"),
        ("12345678901", "1234567890\n1"),
        ("abc\x1b[2K\rd", "d"),
        ("main\n\x1b[?1049h\x1b[Hfirst\nview\x1b[Hsecond\x1b[2;3Hd", "second\nvidw"),
        ("main\n\x1b[?1049h\x1b[Hview\x1b[?1049lafter", "main\nafter"),
    ],
)
def test_a_screen_shows_what_is_left_in_the_end(written: str, shown: str) -> None:
    screen = Screen(10 if written.startswith("1234") else 40)
    screen.feed(written)
    assert screen.text().plain == shown


def test_what_belongs_to_this_machine_is_in_no_picture() -> None:
    screen = Screen(80)
    screen.feed("Journal: /home/someone/journal")
    with pytest.raises(PictureError, match="'/home/'"):
        save("never-written", "title", screen.text())


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: str(picture.stem))
def test_a_picture_is_small_stands_alone_and_is_described_in_the_readme(picture: Path) -> None:
    content = picture.read_text(encoding="utf-8")
    assert len(content) < 60_000
    text = re.sub(rf">[^<]*{SITE}[^<]*<", "><", content)  # an address in the text is not loaded
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) <= {"http://www.w3.org/2000/svg"}
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    described = re.search(rf"!\[([^\]]{{20,}})\]\(docs/pictures/{picture.name}\)", readme)
    assert described, f"README.md shows and describes {picture.name}"
