"""`scar explain`: what the code of a diagnostic means, without a browser or a connection."""

from __future__ import annotations

import shutil
import sys

import click

from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.table import table, takes_colours

_WIDEST = 100


@with_examples("explain", "scar explain FDL012", "scar explain")
@click.argument("codes", nargs=-1, metavar="[CODE]...")
def command(codes: tuple[str, ...]) -> None:
    """Explain diagnostic codes, with examples.

    Without a code, list all codes.
    """
    from fdl_schemas.diagnostics.codes import explanations

    known = explanations()
    wanted = list(dict.fromkeys(code.upper() for code in codes))
    for code in wanted:
        if code not in known:
            raise UserError(f"{code!r} is not a diagnostic code", "Run `scar explain` to list the codes")
    if not wanted:
        rows = [(code, about.title) for code, about in known.items()]
        click.echo("\n".join(table(("CODE", "PROBLEM"), rows)))
        return
    click.echo("\n\n".join(_explained(code) for code in wanted))


def _explained(code: str) -> str:
    from fdl_schemas.diagnostics.codes import explanations

    about = explanations()[code]
    title = f"{code}: {about.title}"
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    text = click.wrap_text(about.plain, width, preserve_paragraphs=True)
    return "\n\n".join(
        [
            click.style(title, bold=True) if takes_colours(sys.stdout) else title,
            text,
            f"Wrong:\n\n{_indented(about.bad)}",
            f"Right:\n\n{_indented(about.good)}",
        ]
    )


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.rstrip("\n").split("\n"))
