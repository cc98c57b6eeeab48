"""Where a setting is, or belongs, in an FDL file."""

from __future__ import annotations

from dataclasses import dataclass

import yaml


@dataclass(frozen=True)
class Place:
    """A line of an FDL file."""

    line: int
    """From 1: of the setting, or of the name of the function if the setting is missing."""
    is_present: bool


def place_of(text: str, function: str, path: tuple[str, ...]) -> Place | None:
    """The place of a setting of a function.

    `path` are the keys below the entry of the function: `("lambda", "memory")`, `("batch", "timeout")`.
    None if the function is not found.
    """
    entry = _entry_of(yaml.compose(text, yaml.SafeLoader), function)
    if entry is None:
        return None
    name = _value(_value(entry, "lambda"), "name")
    if name is None:
        return None
    node: yaml.Node | None = entry
    mark = name.start_mark
    for key in path:
        found = _key(node, key)
        if found is None:
            return Place(mark.line + 1, is_present=False)
        node = found[1]
        mark = name.start_mark if key == "lambda" else found[0].start_mark
    return Place(mark.line + 1, is_present=True)


def _entry_of(root: yaml.Node | None, function: str) -> yaml.Node | None:
    functions = _value(_value(root, "functions"), "aws")
    entries: list[yaml.Node] = functions.value if isinstance(functions, yaml.SequenceNode) else []
    for entry in entries:
        name = _value(_value(entry, "lambda"), "name")
        if isinstance(name, yaml.ScalarNode) and name.value == function:
            return entry
    return None


def _key(node: yaml.Node | None, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    found: list[tuple[yaml.Node, yaml.Node]] = [pair for pair in node.value if pair[0].value == key]
    return found[0] if found else None


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    found = _key(node, key)
    return found[1] if found is not None else None
