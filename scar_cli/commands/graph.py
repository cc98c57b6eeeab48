"""`scar graph`: the workflow of an FDL file as a diagram.

Files with errors are drawn, too, as far as they can be read: a loop is easiest to understand in a picture.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scar_cli.commands.validate import check_file
from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.files import write_file
from scar_cli.table import counted

if TYPE_CHECKING:
    from fdl_schemas.load import CheckResult

_FORMATS = {
    ".svg": "svg",
    ".png": "png",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".dot": "dot",
    ".gv": "dot",
}


@with_examples("graph", "scar graph workflow.yaml -o workflow.svg")
@click.argument("file")
@click.option(
    "-o", "--output", metavar="FILE", help="Write the picture to this file.  [default: standard output]"
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["svg", "png", "mermaid", "dot"]),
    help="Output format.  [default: from the file extension (.svg, .png, .mmd, .dot), else svg]",
)
@click.option(
    "--direction",
    type=click.Choice(["LR", "TD"], case_sensitive=False),
    metavar="[LR|TD]",
    help="Left to right, or top down.  [default: LR, or TD if that fits a page better]",
)
def command(file: str, output: str | None, kind: str | None, direction: str | None) -> int:
    """Draw the workflow of an FDL file: folders, functions, filters, and loops in red; `-` is standard input.

    If the file has errors, the drawing may be incomplete.
    """
    kind = kind or _format_of(output)
    if output is None and kind == "png" and sys.stdout.isatty():
        raise UserError("A PNG file cannot be shown in a terminal", "Write it to a file: -o workflow.png")
    if output is not None and file != "-" and Path(output).exists() and Path(output).samefile(file):
        raise UserError(f"{output} is the FDL file itself", "Use another file for the picture")
    picture = _picture(file, kind, direction)
    if output is None:
        sys.stdout.buffer.write(picture)
        sys.stdout.buffer.flush()
        return 0
    write_file(output, picture)
    return 0


def _format_of(output: str | None) -> str:
    if output is None:
        return "svg"
    extension = Path(output).suffix.lower()
    if extension not in _FORMATS:
        raise UserError(
            f"The format of {output} is unknown",
            "Use the extension .svg, .png, .mmd or .dot, or add --format",
        )
    return _FORMATS[extension]


def _picture(file: str, kind: str, given: str | None) -> bytes:
    from fdl_schemas.diagram.diagram import MAX_STEPS, TooLargeError, diagram
    from fdl_schemas.diagram.direction import Direction, best_direction

    draft = _checked(file).draft
    assert draft is not None  # noqa: S101 - _checked ends the command otherwise
    try:
        drawn = diagram(draft, "stdin" if file == "-" else Path(file).stem)
    except TooLargeError:
        raise UserError(
            f"{file} has more functions, or more connections between them, than a picture can show",
            f"Draw a part of it: at most {MAX_STEPS} functions",
        ) from None
    if not drawn.nodes:
        raise UserError(f"{file} has no functions to draw", "For its errors, run `scar validate`")
    direction = Direction(given) if given else best_direction(drawn)
    if kind == "mermaid":
        from fdl_schemas.diagram.mermaid import mermaid

        return mermaid(drawn, direction).encode("utf-8")
    if kind == "dot":
        from fdl_schemas.diagram.dot import dot

        return dot(drawn, direction).encode("utf-8")
    from scar_cli.drawing.svg import svg

    picture = svg(drawn, direction)
    if kind == "svg":
        return picture.encode("utf-8")
    from scar_cli.drawing.png import png

    return png(picture)


def _checked(file: str) -> CheckResult:
    """The file as far as it can be read; its errors are reported on standard error."""
    from fdl_schemas.diagnostics.diagnostic import printable, render

    result = check_file(file)
    if result.draft is None:
        click.echo(render(result.diagnostics), err=True)
        raise UserError(f"{printable(file)} cannot be parsed", "Correct it first")
    if result.errors:
        errors = counted(len(result.errors), "error")
        text = f"{printable(file)} has {errors}, so the drawing may be incomplete"
        click.echo(f"scar: {text}. `scar validate` lists them.", err=True)
    return result
