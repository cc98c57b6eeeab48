"""`scar validate`: say what is wrong in FDL files, without deploying them.

What it says goes to three kinds of readers: text to people, `--json` to programs, `--sarif` to code hosts.
It loads neither the CDK nor the AWS SDK, and answers before an editor has saved the next file.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scar_cli.errors import UserError
from scar_cli.examples import examples
from scar_cli.files import write_file
from scar_cli.table import counted, takes_colours

if TYPE_CHECKING:
    from fdl_schemas.diagnostics.diagnostic import Diagnostic
    from fdl_schemas.load import CheckResult

_STDIN = "-"
_STDOUT = "-"


@click.command("validate", epilog=examples("scar validate workflow.yaml", "scar validate --json *.yaml"))
@click.argument("files", nargs=-1, metavar="FILE...")
@click.option("-j", "--json", "as_json", is_flag=True, help="Answer in JSON, one entry per file.")
@click.option(
    "--sarif",
    is_flag=False,
    flag_value=_STDOUT,
    metavar="[FILE.sarif]",
    help="Answer in SARIF 2.1.0, for code hosts; into a file, if one that ends with .sarif is named.",
)
@click.option("--strict", is_flag=True, help="Let warnings count as errors.")
def command(files: tuple[str, ...], as_json: bool, sarif: str | None, strict: bool) -> int:
    """Check FDL files; `-` is standard input.

    Exit code 2 if one has an error. Warnings alone are none, but with --strict.
    """
    if sarif is not None and sarif != _STDOUT and not sarif.endswith(".sarif"):
        # `--sarif workflow.yaml`: the file to check, and nothing to write over.
        files, sarif = (sarif, *files), _STDOUT
    if not files:
        raise UserError("There is no file to check", "Name an FDL file, or - for standard input")
    if as_json and sarif == _STDOUT:
        raise UserError(
            "--json and --sarif both want standard output", "Give --sarif a file: --sarif=FDL.sarif"
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

    told = {**asdict(found), "see": found.see}
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
