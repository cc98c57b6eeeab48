"""The exceptions that end an assembly."""

from __future__ import annotations

from containers.errors import ErrorKind, ExplainedError


class OutOfTime(Exception):  # noqa: N818 - no error: the next run continues
    """The deadline is near. Everything that is complete is in the target, and the next run skips it."""


def rejected(cause: str, advice: str, kind: ErrorKind = ErrorKind.UNSUPPORTED_IMAGE) -> ExplainedError:
    """The error for an image that AWS Lambda would reject and that cannot be converted."""
    return ExplainedError(cause, advice=advice, kind=kind)
