"""Ids of constructs that are derived from users' names.

The CDK keeps the children of a construct in a JavaScript object. It reports a child named `constructor` (a
valid name for a bucket or function) as a duplicate, and loses one named `__proto__`. Children named
`Resource` and `Default` are special: the CDK treats them as their parent's main resource, allows only one of
the two, and leaves them out of the logical ids in the template.
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
    """The construct id of a function or bucket: its name, if that is possible."""
    special = name in _OF_EVERY_OBJECT or name in _OF_THE_CDK
    return f"{name}!" if special else name  # `!`: no name of a function or bucket has one
