"""`scar diff`: what `scar init` would change."""

from __future__ import annotations

import json

import click

from scar_cli.commands.init import context_of, decides_where
from scar_cli.deployment.cdk import cdk, synthesized
from scar_cli.deployment.changes import as_json as in_json
from scar_cli.deployment.changes import changes_of, show
from scar_cli.deployment.comment import comment
from scar_cli.deployment.given_roles import given_roles
from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.options import prints_json
from scar_cli.progress import activity


@with_examples("diff", "scar diff -f workflow.yaml", "scar diff -f workflow.yaml --markdown > comment.md")
@click.option(
    "-f", "--file", "--conf-file", "fdl", required=True, metavar="FILE", help="FDL file to compare."
)
@decides_where
@click.option("--full", is_flag=True, help="Show the output of `cdk diff`, with every property.")
@click.option("--fail", is_flag=True, help="Exit with code 1 if there are differences.")
@click.option("--markdown", is_flag=True, help="Print Markdown, for a comment on a pull request.")
@prints_json
def command(
    *,
    fdl: str,
    stack: str | None,
    bucket_suffix: str | None,
    stage: str | None,
    values: tuple[str, ...],
    full: bool,
    fail: bool,
    markdown: bool,
    as_json: bool,
) -> int:
    """Show what `scar init` would change, including permissions, without changing anything."""
    if markdown and (full or as_json):
        raise UserError("--markdown, --json and --full cannot be used together", "Choose one of them")
    with synthesized(fdl, context_of(stack, bucket_suffix, stage, values)) as (folder, made):
        if full and not as_json:
            return cdk("diff", "--app", str(folder), "--method", "template", *(["--fail"] if fail else []))
        with activity("Comparing with what is deployed"):
            found = [changes_of(one) for one in made]
        roles = [given for one in made for given in given_roles(one)] if as_json else []
    if as_json:
        answer = {
            "Stacks": [in_json(changes) for changes in found],
            "Roles": [{"Function": one.function, "Role": one.role, "Policy": one.policy} for one in roles],
        }
        click.echo(json.dumps(answer))
    elif markdown:
        click.echo(comment(found), nl=False)
    else:
        for changes in found:
            show(changes)
    return 1 if fail and any(found) else 0
