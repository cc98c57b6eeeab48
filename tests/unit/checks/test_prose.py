"""The English of what people read: no phrase of `prose.toml` in documentation, messages, help or comments."""

from __future__ import annotations

import io
import re
import subprocess
import token
import tokenize
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
PHRASES = Path(__file__).with_name("prose.toml")
# Where a text continues on another line of Markdown, of a comment or of a Python string.
CONTINUED = re.compile(r"""["']?\n[ \t]*(?:#|>|//|f?["'])?[ \t]*""")
READ = (
    ".md",
    ".py",
    ".json",
    ".toml",
    ".yaml",
    ".yml",
    ".sh",
    ".mjs",
    ".js",
    ".html",
    ".in",
    "Makefile",
    ".ci/run",
)
PROSE = {token.COMMENT, token.STRING, getattr(token, "FSTRING_MIDDLE", token.STRING)}
NOT_READ = re.compile(r"^tests/|package-lock\.json$|\.svg$")
# How the texts of this project must not read, and how they may.
BEFORE = """
results stand in `my-pictures/output`
What fails is told with its reason, and kept
All of them are text from real runs: `make pictures` makes them anew
buckets that are there already, and are not made with the stack
the name of a `space` that is none
Only `namespaces` is a wall
What does not go by way of it
Line ends of Windows are mended
One that is missing is said
text that the CDK takes for its own
expected: a value that ends
What it is; else the output's ending says it
Nobody is there to answer
cannot be had
""".strip().splitlines()
AFTER = """
results appear in `my-pictures/output`
Failures are reported with a reason, and their events are kept
These are real terminal sessions; `make pictures` regenerates them
existing buckets that the stack should not create
an invalid `space` name
Only `namespaces` is a security boundary
What bypasses the cache
Windows line endings are converted
A missing bucket is an error
text that the CDK would parse as a token
expected: a non-recursive value
Output format [default: from the file extension]
Cannot prompt: standard input is not a terminal
is not available
AWS's emulator stands in for Lambda; `[]` stands for each entry
measured in wall time and in processor time, with room for a layer
none of the files exist, and it takes a second for each
the extension says which format it is, and a file name that ends with .sarif
there is a file that has the same name; is there a bucket to read?
a connection is refused; None if there is none
a line ends with LF; there are no older releases that receive fixes; a job that is told to stop
""".strip().splitlines()


@dataclass(frozen=True)
class Phrase:
    pattern: re.Pattern[str]
    instead: str
    example: str


@cache
def all_phrases() -> list[Phrase]:
    return [
        Phrase(re.compile(one["pattern"].replace(" ", " +"), re.IGNORECASE), one["instead"], one["example"])
        for one in tomllib.loads(PHRASES.read_text(encoding="utf-8"))["phrase"]
    ]


def found_in(text: str) -> list[tuple[int, str, str]]:
    """The line, the phrase and the better form of everything in a text that should read otherwise."""
    squeezed = re.sub(r"\s+", " ", CONTINUED.sub(" ", text))
    if not any(phrase.pattern.search(squeezed) for phrase in all_phrases()):
        return []  # the usual case, which takes half of the time
    on_one_line = CONTINUED.sub(lambda found: " " * len(found[0]), text)
    return [
        (text.count("\n", 0, found.start()) + 1, " ".join(found.group().split()), phrase.instead)
        for phrase in all_phrases()
        for found in phrase.pattern.finditer(on_one_line)
    ]


def prose_of(file: Path) -> str:
    """The text of a file; of Python, blanks in the place of everything but strings and comments."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return text
    lines = [re.sub(r"\S", " ", line) for line in text.splitlines(keepends=True)]
    written = text.splitlines(keepends=True)
    for one in tokenize.generate_tokens(io.StringIO(text).readline):
        if one.type in PROSE:
            (first, start), (last, end) = one.start, one.end
            for number in range(first - 1, last):
                left = start if number == first - 1 else 0
                right = end if number == last - 1 else len(written[number])
                lines[number] = lines[number][:left] + written[number][left:right] + lines[number][right:]
    return "".join(lines)


@pytest.mark.parametrize("phrase", all_phrases(), ids=lambda phrase: phrase.example)
def test_each_pattern_matches_its_example(phrase: Phrase) -> None:
    assert phrase.pattern.search(phrase.example)


@pytest.mark.parametrize("text", BEFORE)
def test_worn_phrase_is_found(text: str) -> None:
    assert found_in(text)
    assert found_in(text.replace(" ", "\n        # ")), "in a comment"
    assert found_in(text.replace(" ", ' "\n        "')), "in a string of several lines"


@pytest.mark.parametrize("text", AFTER)
def test_good_text_is_left_alone(text: str) -> None:
    assert found_in(text) == []


def test_no_worn_phrase_is_left() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=TOP, check=True, capture_output=True, text=True).stdout
    files = [name for name in listed.splitlines() if name.endswith(READ) and not NOT_READ.search(name)]
    assert len(files) > 300
    found = [
        f"{name}:{line}: {phrase!r}: better: {instead}"
        for name in files
        if found_in((TOP / name).read_text(encoding="utf-8"))  # few: `prose_of` is slower
        for line, phrase, instead in found_in(prose_of(TOP / name))
    ]
    assert found == [], "\n".join(found)
