"""`scar diff`: what `scar init` would change."""

from __future__ import annotations

import click

from scar_cli.cdk import cdk, synthesized
from scar_cli.init import context_of, decides_where


@click.command("diff")
@click.option(
    "-f", "--file", "--conf-file", "fdl", required=True, metavar="FILE", help="FDL file to compare."
)
@decides_where
@click.option("--fail", is_flag=True, help="End with 1 if there are differences.")
def command(
    *, fdl: str, stack: str | None, bucket_suffix: str | None, values: tuple[str, ...], fail: bool
) -> int:
    """Show what `scar init` would change, permissions included; nothing is changed."""
    with synthesized(fdl, context_of(stack, bucket_suffix, values)) as (folder, _made):
        return cdk("diff", "--app", str(folder), "--method", "template", *(["--fail"] if fail else []))
