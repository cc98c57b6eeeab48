"""Functions of ministack that are replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Original = Callable[..., Any]
_Replacement = TypeVar("_Replacement", bound=Callable[..., Any])


def replaces(owner: Any, name: str) -> Callable[[_Replacement], _Replacement]:
    """Put the decorated function in the place of `owner.name`; it is given the original as first argument.

    Raises:
        AttributeError: there is none, as in another version of ministack.
    """
    original = getattr(owner, name)

    def put(replacement: _Replacement) -> _Replacement:
        # A function and no `partial`, which would not become a method of a class.
        setattr(owner, name, lambda *given, **options: replacement(original, *given, **options))
        return replacement

    return put
