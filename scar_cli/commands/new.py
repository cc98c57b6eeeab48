"""`scar new`: create a folder with a workflow that can be deployed as it is."""

from __future__ import annotations

import errno
import platform
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from fdl_schemas.names import bucket_problem
from scar_cli.commands.image import build_image, can_build_images, ended_by_sigterm
from scar_cli.errors import UserError
from scar_cli.examples import with_examples

TEMPLATES = Path(__file__).parents[1] / "templates"
"""Its README.md describes how its files become those of a project."""
KINDS = ("function", "workflow", "batch", "http")

_NAMES = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]")
"""Short enough for the suffixes of functions (64 characters, AWS Lambda) and buckets (63, Amazon S3)."""
_NAME = "__NAME__"
_FDL = "FDL: workflow.yaml"
"""The line of a pipeline that names the FDL file."""
_RUN = "run.md"


@with_examples("new", "scar new word-count", "scar new nightly-report --template batch")
@click.argument("name")
@click.option(
    "-t",
    "--template",
    type=click.Choice(KINDS),
    default=KINDS[0],
    help="One function, two functions in sequence, a Batch job, or an HTTP endpoint.",
)
def command(name: str, template: str) -> None:
    """Create the folder NAME with a workflow, its image, and CI pipelines, ready to deploy.

    NAME is also the name of the stack, and part of the names of functions and buckets.
    """
    _check_name(name)
    target = Path(name)
    _check_target(target)
    try:
        with ended_by_sigterm(), tempfile.TemporaryDirectory(dir=".", prefix=f".{name}-") as scratch:
            folder = Path(scratch) / name
            for path, content in project_files(name, template):
                _write(folder / path, content)
            if can_build_images():
                from containers.building.archive import ImageContent

                build_image(ImageContent(folder / "image"), folder / "image.tar", quiet=True)
            folder.replace(target)  # which may be an empty folder
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            _check_target(target)
        raise UserError(
            f"{name} cannot be written: {error.strerror}", "Create it in another folder"
        ) from error
    click.echo(f"{name} is ready. Next:\n")
    if not can_build_images():
        click.echo("  # on Linux, for example in your CI pipeline: scar image build image -o image.tar")
    for line in (
        f"cd {name}",
        "scar local start",
        'eval "$(scar local env)"',
        f"cdk deploy -c fdl={name}.yaml",
    ):
        click.echo(f"  {line}")
    click.echo("\nTo run it, and to deploy it on AWS, see README.md.")


def project_files(name: str, template: str) -> Iterator[tuple[Path, str]]:
    """The files of a project, by their paths in its folder."""
    run = (TEMPLATES / template / _RUN).read_text(encoding="utf-8").rstrip()
    architecture = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    values = {"__RUN__": run, "__ARCHITECTURE__": architecture, _NAME: name, _FDL: f"FDL: {name}.yaml"}
    for part in ("all", "pipelines", template):
        for file in sorted((TEMPLATES / part).rglob("*")):
            if file.is_file() and file.name != _RUN:
                path = file.relative_to(TEMPLATES / part).as_posix()
                path = "/".join(re.sub("^dot-", ".", step) for step in path.split("/"))
                text = file.read_text(encoding="utf-8")
                for placeholder, value in values.items():
                    text = text.replace(placeholder, value)
                yield Path(path.replace(_NAME, name)), text


def _write(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")
    if content.startswith("#!"):
        file.chmod(file.stat().st_mode | 0o111)


def _check_name(name: str) -> None:
    if _NAMES.fullmatch(name) is None:
        raise UserError(
            f"Invalid workflow name: {name!r}",
            "Use 2 to 40 lower-case letters, digits and hyphens, with a letter first and no hyphen last: "
            "the name becomes part of the names of functions and buckets",
        )
    if problem := bucket_problem(f"{name}-files"):
        raise UserError(f"{name!r} cannot be part of a bucket name: {problem}", "Choose another name")


def _check_target(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UserError(f"{target} already exists", "Choose another name, or remove it")
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"The folder {target} already exists and is not empty", "Choose another name")
