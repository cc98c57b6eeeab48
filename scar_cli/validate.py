"""`scar validate`: say what is wrong in an FDL file, without deploying it."""

from __future__ import annotations

import json
import sys
from typing import Any

import click


@click.command("validate")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, one entry per file.")
def command(files: tuple[str, ...], as_json: bool) -> int:
    """Check FDL files. Exit code 2 if one has an error; warnings alone are no error."""
    from fdl_schemas.load import check

    answers: list[dict[str, Any]] = []
    for file in files:
        result = check(file)
        valid = result.workflow is not None
        answers.append(
            {
                "file": file,
                "valid": valid,
                "functions": [function.name for function in result.workflow.functions]
                if result.workflow
                else [],
                "diagnostics": [_as_json(diagnostic) for diagnostic in result.diagnostics],
            }
        )
        if not as_json:
            for diagnostic in result.diagnostics:
                click.echo(diagnostic.render(color=sys.stderr.isatty()), err=True)
            if valid:
                click.echo(f"{file}: valid, {_count(len(answers[-1]['functions']), 'function')}")
    if as_json:
        click.echo(json.dumps(answers, indent=2))
    return 0 if all(answer["valid"] for answer in answers) else 2


def _as_json(diagnostic: Any) -> Any:
    import dataclasses

    return json.loads(json.dumps(dataclasses.asdict(diagnostic), default=str))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
