"""Ids of constructs that are made of names which users choose.

The CDK keeps the children of a construct in a JavaScript object, and takes a child called `constructor` (a
good name for a bucket, and for a function) for one that is there already; one called `__proto__` gets lost.
Children called `Resource` and `Default` are special to it: it takes them for what their parent stands for,
wants one of the two at most, and leaves them out of the names in the template.
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

_OF_THE_CDK = frozenset({"Default", "Resource"})
"""`Node.defaultChild` of the library `constructs`, and the CDK's rules for logical ids."""


def id_for(name: str) -> str:
    """The id of the construct of a function or bucket: its name, where that can be."""
    special = name in _OF_EVERY_OBJECT or name in _OF_THE_CDK
    return f"{name}!" if special else name  # `!`: no name of a function or bucket has one
