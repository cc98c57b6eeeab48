"""`scar validate`: check FDL files without deploying them.

The output is text for people, `--json` for programs, and `--sarif` for code hosts. Neither the CDK nor the
AWS SDK is loaded, so that it can run each time an editor saves a file.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.files import write_file
from scar_cli.table import counted, takes_colours

if TYPE_CHECKING:
    from fdl_schemas.diagnostics.diagnostic import Diagnostic
    from fdl_schemas.load import CheckResult

_STDIN = "-"
_STDOUT = "-"


@with_examples("validate", "scar validate workflow.yaml", "scar validate --json *.yaml")
@click.argument("files", nargs=-1, metavar="FILE...")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print the results as JSON, one entry per file.")
@click.option(
    "--sarif",
    is_flag=False,
    flag_value=_STDOUT,
    metavar="[FILE.sarif]",
    help="Print SARIF 2.1.0, for code hosting platforms, or write it to a file whose name ends in .sarif.",
)
@click.option("--strict", is_flag=True, help="Treat warnings as errors.")
def command(files: tuple[str, ...], as_json: bool, sarif: str | None, strict: bool) -> int:
    """Check FDL files; `-` is standard input.

    The exit code is 2 if a file has an error or, with --strict, a warning.
    """
    if sarif is not None and sarif != _STDOUT and not sarif.endswith(".sarif"):
        # `--sarif workflow.yaml`: a file to check, not one to overwrite.
        files, sarif = (sarif, *files), _STDOUT
    if not files:
        raise UserError("No file to check", "Specify an FDL file, or - for standard input")
    if as_json and sarif == _STDOUT:
        raise UserError(
            "--json and --sarif cannot both write to standard output",
            "Use a file for SARIF: --sarif=FDL.sarif",
        )
    results = [(file, check_file(file)) for file in files]
    if sarif is not None:
        _write_sarif(sarif, [found for _, result in results for found in result.diagnostics])
    if as_json:
        click.echo(json.dumps([_as_json(file, result) for file, result in results], indent=2))
    elif sarif != _STDOUT:
        for file, result in results:
            _print(file, result)
    good = all(result.workflow and not (strict and result.diagnostics) for _, result in results)
    return 0 if good else 2


def check_file(file: str) -> CheckResult:
    """Check an FDL file, or standard input if it is `-`."""
    from fdl_schemas.load import MAX_BYTES, check, check_text

    if file == _STDIN:
        return check_text(sys.stdin.buffer.read(MAX_BYTES + 1), "stdin.yaml", called="<stdin>")
    return check(file)


def _print(file: str, result: CheckResult) -> None:
    from fdl_schemas.diagnostics.diagnostic import printable, render

    if result.diagnostics:
        click.echo(render(result.diagnostics, color=takes_colours(sys.stderr)) + "\n", err=True)
    if result.workflow is not None:
        functions = counted(len(result.workflow.functions), "function")
        warnings = f", {counted(len(result.diagnostics), 'warning')}" if result.diagnostics else ""
        click.echo(f"{printable(file)}: valid, {functions}{warnings}")


def _as_json(file: str, result: CheckResult) -> dict[str, Any]:
    functions = result.workflow.functions if result.workflow else ()
    return {
        "file": file,
        "valid": result.workflow is not None,
        "functions": [function.name for function in functions],
        "diagnostics": [_diagnostic_as_json(found) for found in result.diagnostics],
    }


def _diagnostic_as_json(found: Diagnostic) -> dict[str, Any]:
    from fdl_schemas.diagnostics.diagnostic import LONGEST_TEXT

    told = {**asdict(found), "url": found.url}
    if found.source_line is not None and len(found.source_line) > LONGEST_TEXT:
        told["source_line"] = None  # of a megabyte, for each diagnostic
    return told


def _write_sarif(target: str, diagnostics: list[Diagnostic]) -> None:
    from importlib.metadata import version

    from fdl_schemas.diagnostics.sarif import sarif

    log = json.dumps(sarif(diagnostics, folder=Path.cwd(), version=version("scar-cdk")), indent=2)
    if target == _STDOUT:
        click.echo(log)
        return
    write_file(target, f"{log}\n".encode())
