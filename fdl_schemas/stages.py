"""Stages: one FDL file deployed several times in one account and region, such as `dev` and `prod`.

The stage is always the last part of a name: function `thumbnails-dev`, bucket `my-pictures-dev`, stack
`thumbnails-dev`. The deployment and the command line both use these functions.
"""

from __future__ import annotations

import re

_STAGE = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
"""A stage becomes part of bucket names, which have no uppercase letters, dots or underscores."""


def staged(name: str, stage: str | None) -> str:
    """The name of a function, bucket or stack in a stage; without a stage, the name itself."""
    return name if stage is None else f"{name}-{stage}"


def unstaged(name: str, stage: str | None) -> str:
    """The name in the FDL file of a function, bucket or stack in a stage."""
    return name if stage is None else name.removesuffix(f"-{stage}")


def stage_problem(stage: str) -> str | None:
    """The expected form of a stage if this one is invalid, or None."""
    if _STAGE.fullmatch(stage):
        return None
    return (
        "expected lowercase letters, digits and hyphens, starting and ending with a letter or digit, "
        "such as `dev`"
    )
