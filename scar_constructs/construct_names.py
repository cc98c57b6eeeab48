"""Ids of constructs that are made of names which users choose.

The CDK keeps the children of a construct in a JavaScript object, and takes a child called `constructor` (a
good name for a bucket, and for a function) for one that is there already; one called `__proto__` gets lost.
"""

from __future__ import annotations

_OF_EVERY_OBJECT = frozenset(
    {
        *("constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable"),
        *("toLocaleString", "toString", "valueOf", "__proto__"),
        *("__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"),
    }
)
"""Members that every object of JavaScript has."""


def id_for(name: str) -> str:
    """The id of the construct of a function or bucket: its name, where that can be."""
    return f"{name}!" if name in _OF_EVERY_OBJECT else name  # `!`: no name of a function or bucket has one
