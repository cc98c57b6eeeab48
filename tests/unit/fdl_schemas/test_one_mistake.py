"""One mistake is one diagnostic: what follows from it is not reported too."""

from __future__ import annotations

from pathlib import Path

import pytest

from fdl_schemas.load import check

GOOD = """\
allow_loops: false
functions:
  aws:
  - lambda:
      name: resize
      memory: 1024
      execution_mode: batch
      init_script: s.sh
      container:
        image: grycap/imagemagick
      input:
      - storage_provider: s3
        path: scar-images/input
        suffix: [png]
      output:
      - storage_provider: s3
        path: scar-images/small
    batch:
      vcpus: 2
      memory: 4096
  - lambda:
      name: blur
      init_script: s.sh
      container:
        image: grycap/imagemagick
      input:
      - storage_provider: s3
        path: scar-images/small
        suffix: [png]
      output:
      - storage_provider: s3
        path: scar-images/blurred
        suffix: [jpg]
"""
SECOND = GOOD[GOOD.index("  - lambda:\n      name: blur") :]

# What is replaced by what, and the one code that this leads to.
MISTAKES = {
    "not YAML": ("  aws:\n", "  aws: [\n", "FDL004"),
    "tab": ("      memory", "\t    memory", "FDL005"),
    "empty": (GOOD, "", "FDL006"),
    "only a comment": (GOOD, "# nothing\n", "FDL006"),
    "a word": (GOOD, "hello\n", "FDL012"),
    "a list": (GOOD, "- lambda: {}\n", "FDL012"),
    "key twice": ("memory: 1024", "memory: 1024\n      memory: 512", "FDL008"),
    "unknown key": ("memory: 1024", "memroy: 1024", "FDL011"),
    "unknown key at the top": ("allow_loops: false", "alow_loops: true", "FDL011"),
    "functions misspelt": ("functions:", "function:", "FDL011"),
    "aws misspelt": ("aws:", "awss:", "FDL011"),
    "lambda misspelt": ("lambda:\n      name: blur", "lamda:\n      name: blur", "FDL011"),
    "name misspelt": ("name: blur", "nam: blur", "FDL011"),
    "container misspelt": (
        "      container:\n        image: g",
        "      contaner:\n        image: g",
        "FDL011",
    ),
    "image misspelt": ("image: grycap", "imag: grycap", "FDL011"),
    "mode misspelt": ("execution_mode:", "execution_mod:", "FDL011"),
    "path misspelt": ("path: scar-images/small", "pth: scar-images/small", "FDL011"),
    "filter misspelt makes no loop": (
        "/blurred\n        suffix: [jpg]",
        "/small\n        sufix: [jpg]",
        "FDL011",
    ),
    "wrong type": ("memory: 1024", 'memory: "1024"', "FDL012"),
    "name is a number": ("name: blur", "name: 7", "FDL012"),
    "image is a number": ("image: grycap/imagemagick", "image: 7", "FDL012"),
    "container is text": ("container:\n        image: g", "container: g\n      log_level: INFO #", "FDL012"),
    "input is text": (
        "input:\n      - storage_provider: s3\n        path: scar-images/input\n        suffix: [png]",
        "input: scar-images/input",
        "FDL012",
    ),
    "functions without value": (GOOD, "functions:\n", "FDL012"),
    "job's memory is text": ("memory: 4096", 'memory: "4096"', "FDL012"),
    "no name": ("name: blur\n      init", "init", "FDL013"),
    "no path": (
        "      - storage_provider: s3\n        path: scar-images/small",
        "      - suffix: x",
        "FDL013",
    ),
    "unknown mode": ("execution_mode: batch", "execution_mode: bach", "FDL014"),
    "no functions": (GOOD, "functions: {aws: []}\n", "FDL017"),
    "loop": (
        "path: scar-images/blurred\n        suffix: [jpg]",
        "path: scar-images/input\n        suffix: [png]",
        "FDL020",
    ),
    "copy of a function": (SECOND, SECOND + SECOND, "FDL021"),
    "copy of a job": (SECOND, SECOND + GOOD[GOOD.index("  - lambda:") : GOOD.index(SECOND)], "FDL021"),
    "missing script": ("init_script: s.sh", "init_script: none.sh", "FDL022"),
    "missing image file": ("image: grycap/imagemagick", "image_file: none.tar", "FDL022"),
    "no image": ("        image: grycap/imagemagick", "        alpine: true", "FDL023"),
    "bad image": ("grycap/imagemagick", "GRyCAP/ImageMagick", "FDL025"),
    "bad bucket name, everywhere": ("scar-images", "Scar-Images", "FDL026"),
    "an address as a path, everywhere": ("scar-images/small", "s3://scar-images/small", "FDL027"),
    "unknown provider": (
        "s3\n        path: scar-images/blurred",
        "ftp\n        path: scar-images/blurred",
        "FDL028",
    ),
}
MORE_THAN_ONCE = {"an address as a path, everywhere": 2}
"""Two places to correct: the output, and the input that reads it."""


def test_the_file_without_the_mistake_is_good(tmp_path: Path) -> None:
    assert codes(GOOD, tmp_path) == []


@pytest.mark.parametrize("name", MISTAKES)
def test_one_mistake_gives_one_diagnostic(name: str, tmp_path: Path) -> None:
    right, wrong, code = MISTAKES[name]
    assert right in GOOD
    once = 1 if code not in ("FDL022", "FDL026", "FDL027") or name == "missing image file" else -1
    assert codes(GOOD.replace(right, wrong, once), tmp_path) == [code] * MORE_THAN_ONCE.get(name, 1)


def codes(text: str, folder: Path) -> list[str]:
    (folder / "s.sh").touch()
    file = folder / "w.yaml"
    file.write_text(text)
    return [found.code for found in check(file).diagnostics]
