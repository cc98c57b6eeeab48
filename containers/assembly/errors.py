"""How an assembly ends when it does not end well."""

from __future__ import annotations

from containers.errors import ExplainedError


class OutOfTime(Exception):  # noqa: N818 - no error: the next run goes on
    """The deadline is near; everything that is complete is in the target, and is skipped next time."""


def rejected(cause: str, advice: str, kind: str = "UnsupportedImage") -> ExplainedError:
    """The error for an image that AWS Lambda would not take and that cannot be converted."""
    return ExplainedError(cause, advice=advice, kind=kind)
