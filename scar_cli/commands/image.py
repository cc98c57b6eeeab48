"""`scar image`: container images without Docker."""

from __future__ import annotations

import errno
import json
import platform
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import TYPE_CHECKING

import click

from scar_cli.errors import UserError
from scar_cli.examples import examples
from scar_cli.options import prints_json
from scar_cli.table import printable

if TYPE_CHECKING:
    from containers.building.archive import BuiltArchive, ImageContent

_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_MACHINES = ("x86_64", "aarch64")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_TERMINATED = 143
"""Exit code of a process that SIGTERM ended, as in shells."""


@click.group("image", epilog=examples("scar image build image/ -o image.tar"))
def command() -> None:
    """Build container images without Docker."""


@command.command(
    "build",
    epilog=examples(
        "scar image build image/ -o image.tar",
        "scar image build --pip 'rembg[cli]' -o image.tar",
        "scar image build image/ -r requirements.txt --env LANG=C.UTF-8 -o image.tar",
    ),
)
@click.argument("folder", required=False, metavar="[FOLDER]")
@click.option("-o", "--output", default="image.tar", metavar="FILE", help="Write the image to this file.")
@click.option("--python", is_flag=True, help="Add the Python that runs scar, as /usr/bin/python3.")
@click.option(
    "--pip",
    "packages",
    multiple=True,
    metavar="PACKAGE",
    help="Add a Python package, and Python. Can be repeated.",
)
@click.option(
    "-r",
    "--requirement",
    "requirements",
    multiple=True,
    metavar="FILE",
    help="Add the packages of a requirements file. Can be repeated.",
)
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set an environment variable. Can be repeated.",
)
@click.option("--entrypoint", metavar="COMMAND", help="Set the entry point of the image.")
@click.option(
    "--cmd", metavar="COMMAND", help="Set the command of the image.  [default: /bin/sh without --entrypoint]"
)
@click.option(
    "--workdir", metavar="PATH", help="Set the working directory.  [default: a temporary one for each run]"
)
@prints_json
def build(
    *,
    folder: str | None,
    output: str,
    python: bool,
    packages: tuple[str, ...],
    requirements: tuple[str, ...],
    variables: tuple[str, ...],
    entrypoint: str | None,
    cmd: str | None,
    workdir: str | None,
    as_json: bool,
) -> None:
    """Build an image from files, as an archive for `image_file`.

    The contents of FOLDER become the root file system of the image. A shell, small programs and shared
    libraries are copied from this machine. The image has the architecture of this machine.
    """
    from containers.building.archive import ImageContent

    content = ImageContent(
        folder=Path(folder) if folder is not None else None,
        python=python,
        packages=packages,
        requirements=[Path(file) for file in requirements],
        environment=dict(_variable(text) for text in variables),
        entrypoint=_words("--entrypoint", entrypoint),
        command=_words("--cmd", cmd),
        working_dir=_working_dir(workdir),
    )
    built = build_image(content, Path(output))
    answer = {
        "file": output,
        "bytes": built.size_bytes,
        "digest": built.digest,
        "architecture": built.architecture,
    }
    if as_json:
        click.echo(json.dumps(answer))
    else:
        size = f"{built.size_bytes / 1e6:.1f} MB"
        click.echo(f"{printable(output)}: {size}, linux/{built.architecture}, {built.digest}")


def build_image(content: ImageContent, output: Path, *, quiet: bool = False) -> BuiltArchive:
    """Build an image archive. It is complete or does not appear at all; `quiet` shows no progress.

    Raises:
        UserError: a file or package cannot be added, or the archive cannot be written.
    """
    from containers.building.archive import build_archive
    from containers.building.errors import BuildError

    _check_system()
    _check_paths(content, output)
    try:
        with ended_by_sigterm():
            return build_archive(content, output, (lambda _: None) if quiet else _progress)
    except BuildError as error:
        raise UserError(f"The image cannot be built: {error.cause}", error.advice) from error
    except OSError as error:
        what = output if error.filename is None or error.errno in _DISK_FULL else error.filename
        advice = (
            "Free some space, or write to another folder with -o"
            if error.errno in _DISK_FULL
            else "Check the permissions, or write to another folder with -o"
        )
        raise UserError(f"{what} cannot be read or written: {error.strerror or error}", advice) from error


def can_build_images() -> bool:
    """Whether the programs of this machine can be copied into an image."""
    return sys.platform == "linux" and platform.machine() in _MACHINES


def _check_system() -> None:
    if not can_build_images():
        raise UserError(
            f"Images can be built on Linux on x86_64 or aarch64, and this is {platform.platform(terse=True)}",
            "Build the image on such a machine, for example in your CI pipeline, or use Docker",
        )


def _check_paths(content: ImageContent, output: Path) -> None:
    if content.folder is not None:
        if not content.folder.is_dir():
            what = "is not a folder" if content.folder.exists() else "does not exist"
            raise UserError(f"{content.folder} {what}", "Specify a folder with the files of the image")
        if output.resolve().is_relative_to(content.folder.resolve()):
            raise UserError(
                f"{output} is inside {content.folder}, and would become part of itself",
                "Write it to another folder with -o, or move the files of the image to their own folder",
            )
    for file in content.requirements:
        if not file.is_file():
            raise UserError(f"The requirements file {file} does not exist", "Correct its path")
    if not output.parent.is_dir():
        raise UserError(f"The folder {output.parent} does not exist", "Create it, or correct -o")
    if output.exists() and not output.is_file():
        raise UserError(f"{output} is not a file", "Specify a file with -o, such as image.tar")


def _variable(text: str) -> tuple[str, str]:
    found = _VARIABLE.fullmatch(text)
    if found is None:
        raise UserError(f"--env {text!r} is not a variable", "Use NAME=VALUE")
    return found[1], found[2]


def _words(option: str, text: str | None) -> list[str]:
    if text is None:
        return []
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError(
            f"{option} {text!r} cannot be split into words: {error}", "Check the quotes"
        ) from None
    if not words:
        raise UserError(f"{option} is empty", "Specify a program, or omit the option")
    return words


def _working_dir(text: str | None) -> str:
    if text is None:
        return ""
    path = PurePosixPath(text)
    if not path.is_absolute() or ".." in path.parts or not text.isprintable():
        raise UserError(f"--workdir {text!r} is not an absolute path", "Use /PATH, without ..")
    return f"/{'/'.join(path.parts[1:])}"


def _progress(text: str) -> None:
    click.echo(printable(text), err=True)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that temporary files are deleted."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
