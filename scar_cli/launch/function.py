"""Which function of a workflow a launch runs, and under which names its buckets are deployed."""

from __future__ import annotations

from contextlib import suppress

import click

from fdl_schemas.graph import edges
from fdl_schemas.model import Function, Workflow
from scar_cli.aws.deployed import one_selected
from scar_cli.errors import UserError


def choose(workflow: Workflow, name: str | None) -> Function:
    """The function that is named, or the only one whose input no other function writes.

    Raises:
        UserError: no function fits, or several do.
    """
    readers = {
        function.name: function
        for function in workflow.functions
        if any(entry.provider == "s3" for entry in function.inputs)
    }
    if name is not None:
        if name in readers:
            return readers[name]
        known = any(function.name == name for function in workflow.functions)
        cause = (
            f"The function {name} has no input on S3" if known else f"There is no function {name} in the file"
        )
        raise UserError(cause, f"Functions that read from S3: {', '.join(readers) or 'none'}")
    fed = {target for _source, target in edges((*workflow.functions, *workflow.oscar_services))}
    heads = [function for function in readers.values() if function.name not in fed]
    if len(heads) == 1:
        return heads[0]
    if not heads:
        raise UserError(
            "No function in the file has an input on S3", "Give the function an input with a bucket"
        )
    raise UserError(
        f"Several functions read files that nobody else writes: {', '.join(head.name for head in heads)}",
        "Say which one by -n",
    )


def deployed_suffix(fdl: str, function: str, bucket: str) -> str | None:
    """What the stack has added to a bucket's name; None: nothing that can be found out."""
    with suppress(UserError, click.exceptions.Exit):
        for path in one_selected(fdl, function).inputs:
            name = path.partition("/")[0]
            if name.startswith(f"{bucket}-"):
                return name.removeprefix(f"{bucket}-")
    return None
