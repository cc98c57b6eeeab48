"""Functions of ministack that are replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Original = Callable[..., Any]
_Replacement = TypeVar("_Replacement", bound=Callable[..., Any])


def replaces(owner: Any, name: str) -> Callable[[_Replacement], _Replacement]:
    """Replace `owner.name` with the decorated function, which receives the original as first argument.

    Raises:
        AttributeError: it does not exist, as in another version of ministack.
    """
    original = getattr(owner, name)

    def put(replacement: _Replacement) -> _Replacement:
        # A function and no `partial`, which would not become a method of a class.
        setattr(owner, name, lambda *given, **options: replacement(original, *given, **options))
        return replacement

    return put
