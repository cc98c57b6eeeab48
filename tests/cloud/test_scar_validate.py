"""`scar validate` as a process: text, JSON, SARIF, exit codes, colours, amount of work."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

GOOD = """\
functions:
  aws:
  - lambda:
      name: resize
      container:
        image: grycap/imagemagick
"""
WARNED = GOOD.replace("name: resize", "name: resize\n      boto_profile: default")
BAD = GOOD.replace("name: resize", 'name: resize\n      memory: "1024"')


def validate(folder: Path, *arguments: str, stdin: str | None = None, **environment: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "scar_cli", "validate", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("good", GOOD), ("warned", WARNED), ("bad", BAD)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def test_text_says_what_is_wrong_and_what_to_do(folder: Path) -> None:
    done = validate(folder, "bad.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "bad.yaml:5:15: error FDL012: `memory` is a string, not a whole number\n"
        '          memory: "1024"\n'
        "                  ^^^^^^\n"
        "  expected: a whole number from 128 to 10240 (MiB)\n"
        "  help: remove the quotes: 1024\n"
        "  see https://scar-cdk.readthedocs.io/latest/diagnostics/fdl012/\n\n"
        "For explanations and examples, run: scar explain FDL012\n\n"
    )


def test_several_files_are_all_checked(folder: Path) -> None:
    done = validate(folder, "bad.yaml", "good.yaml", "none.yaml", "warned.yaml")
    assert done.returncode == 2
    assert done.stdout == "good.yaml: valid, 1 function\nwarned.yaml: valid, 1 function, 1 warning\n"
    assert [code for code in ("FDL001", "FDL012", "FDL050") if code in done.stderr] == [
        "FDL001",
        "FDL012",
        "FDL050",
    ]


def test_warnings_are_no_errors_but_when_asked(folder: Path) -> None:
    assert validate(folder, "warned.yaml").returncode == 0
    assert validate(folder, "warned.yaml", "--strict").returncode == 2
    assert validate(folder, "good.yaml", "--strict").returncode == 0


def test_standard_input_is_a_file_in_the_current_folder(folder: Path) -> None:
    text = GOOD.replace("name: resize", "name: resize\n      init_script: good.yaml")
    assert validate(folder, "-", stdin=text).returncode == 0
    done = validate(folder, "-", stdin=BAD)
    assert done.returncode == 2
    assert done.stderr.startswith("<stdin>:5:15: error FDL012")


def test_json_has_everything(folder: Path) -> None:
    done = validate(folder, "--json", "good.yaml", "bad.yaml")
    assert done.returncode == 2
    good, bad = json.loads(done.stdout)
    assert good == {"file": "good.yaml", "valid": True, "functions": ["resize"], "diagnostics": []}
    assert bad["diagnostics"] == [
        {
            "code": "FDL012",
            "message": "`memory` is a string, not a whole number",
            "file": "bad.yaml",
            "line": 5,
            "column": 15,
            "length": 6,
            "source_line": '      memory: "1024"',
            "expected": "a whole number from 128 to 10240 (MiB)",
            "help": "remove the quotes: 1024",
            "severity": "error",
            "url": "https://scar-cdk.readthedocs.io/latest/diagnostics/fdl012/",
        }
    ]


def test_sarif_goes_to_standard_output_or_into_a_file(folder: Path) -> None:
    done = validate(folder, "--sarif", "bad.yaml")
    assert done.returncode == 2
    log = json.loads(done.stdout)
    assert log["version"] == "2.1.0"
    assert [result["ruleId"] for result in log["runs"][0]["results"]] == ["FDL012"]

    done = validate(folder, "bad.yaml", "--sarif", "fdl.sarif")
    assert done.stderr.startswith("bad.yaml:5:15")
    assert json.loads((folder / "fdl.sarif").read_text()) == log


def test_sarif_never_writes_over_the_file_that_is_checked(folder: Path) -> None:
    validate(folder, "--sarif", "bad.yaml", "good.yaml")
    assert (folder / "bad.yaml").read_text() == BAD


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "No file to check. Specify an FDL file, or - for standard input."),
        (("--json", "--sarif", "good.yaml"), "--json and --sarif cannot both write to standard output."),
        (("good.yaml", "--sarif=none/x.sarif"), "Cannot write none/x.sarif: No such file or directory."),
    ],
)
def test_wrong_words_are_said_in_one_sentence(arguments: tuple[str, ...], said: str, folder: Path) -> None:
    done = validate(folder, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"scar: {said}")


def on_a_terminal(folder: Path, **environment: str) -> str:
    """What `scar validate bad.yaml` writes where standard error is a terminal."""
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    subprocess.run(
        [sys.executable, "-m", "scar_cli", "validate", "bad.yaml"],
        cwd=folder,
        env={**clean, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        stderr=theirs,
        timeout=60,
        check=False,
    )
    os.close(theirs)
    written = os.read(ours, 10_000).decode()
    os.close(ours)
    return written


def test_colours_on_a_terminal_alone_and_not_where_they_are_not_wanted(folder: Path) -> None:
    assert "\x1b[1;31merror FDL012" in on_a_terminal(folder)
    assert "\x1b" not in on_a_terminal(folder, NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(folder, TERM="dumb")
    assert "\x1b" not in validate(folder, "bad.yaml").stderr


def workflow(functions: int) -> str:
    return "functions:\n  aws:\n" + "".join(
        f"  - lambda:\n      name: f{number}\n      memory: 1024\n"
        "      container: {image: grycap/imagemagick}\n"
        f"      input:\n      - path: bucket-{number // 50}/{number}\n        suffix: [jpg, png]\n"
        f"      output:\n      - path: bucket-{number // 50}/{number + 1}\n"
        for number in range(functions)
    )


def calls(functions: int) -> int:
    """How many functions Python calls to check a file: a measure of work that no other process disturbs."""
    from fdl_schemas.load import check_text

    content = workflow(functions).encode()
    counted = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        found = check_text(content, "w.yaml")
    finally:
        sys.setprofile(before)
    assert found.diagnostics == ()
    return counted


def test_work_grows_no_faster_than_the_file() -> None:
    calls(1)  # loads what is loaded once
    assert calls(400) < 4 * 1.1 * calls(100)


def test_json_does_not_repeat_a_line_of_a_megabyte(folder: Path) -> None:
    value = "\\e[2J" + "A" * 900_000
    pairs = ", ".join(f"unknown{n}: 1" for n in range(100))
    (folder / "long.yaml").write_text(f'{{functions: {{aws: []}}, {pairs}, x: "{value}"}}\n')
    done = validate(folder, "--json", "long.yaml")
    assert done.returncode == 2
    assert len(done.stdout) < 200_000
    assert json.loads(done.stdout)[0]["diagnostics"][0]["line"] == 1
