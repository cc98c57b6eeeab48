"""Functions and folders of a workflow as lines of a tree, in the order in which files pass through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scar_cli.aws.deployed import overlap
from scar_cli.watch.state import FunctionNumbers

_DEEPEST = 12


@dataclass(frozen=True)
class Branch:
    """One line: a function, or a folder."""

    indent: str
    """Guides in front of it."""
    label: str
    function: FunctionNumbers | None = None


@dataclass(frozen=True)
class _Node:
    depth: int
    label: str
    function: FunctionNumbers | None = None
    readers: tuple[str, ...] = ()
    """Of a folder."""


def branches(
    functions: Sequence[FunctionNumbers],
    *,
    with_folders: bool = True,
    deepest: int = _DEEPEST,
    ascii_only: bool = False,
) -> list[Branch]:
    """The lines of the tree: each function once, below the first one that writes its files.

    Lines are indented by at most `deepest` levels.
    """
    last, later, passing = "`||" if ascii_only else "└├│"
    nodes = _nodes(functions, with_folders=with_folders)
    found: list[Branch] = []
    open_levels: set[int] = set()
    """Levels with another line below this one."""
    for node in reversed(nodes):
        depth = min(node.depth, deepest)
        guides = [f"{passing} " if level in open_levels else "  " for level in range(1, depth)]
        if depth:
            guides.append(f"{later if depth in open_levels else last} ")
        found.append(Branch("".join(guides), node.label, node.function))
        open_levels = {level for level in open_levels if level < depth} | {depth}
    return found[::-1]


def _nodes(functions: Sequence[FunctionNumbers], *, with_folders: bool) -> list[_Node]:
    """Depth first. Does not recurse: a chain may have hundreds of functions."""
    by_name = {one.function: one for one in functions}
    fed = {reader for one in functions for reader in one.feeds if reader != one.function}
    found: list[_Node] = []
    shown: set[str] = set()
    # The functions of a loop that nothing else feeds have no beginning: the first one is as good as any.
    for start in sorted(functions, key=lambda one: one.function in fed):
        if start.function in shown:
            continue
        top = _Node(0, start.function, start)
        if with_folders and start.inputs:
            top = _Node(0, ", ".join(start.inputs), readers=(start.function,))
        waiting = [top]
        while waiting:
            node = waiting.pop()
            if node.function is not None and node.label in shown:
                continue
            found.append(node)
            below: list[_Node]
            if node.function is None:
                below = [_Node(node.depth + 1, name, by_name[name]) for name in node.readers]
            else:
                shown.add(node.label)
                one = node.function
                readers = [by_name[name] for name in one.feeds if name in by_name]
                if with_folders:
                    below = [_folder(node.depth + 1, path, readers) for path in one.outputs]
                else:
                    below = [_Node(node.depth + 1, reader.function, reader) for reader in readers]
            waiting += reversed(below)
    return found


def _folder(depth: int, path: str, readers: Sequence[FunctionNumbers]) -> _Node:
    own = (one.function for one in readers if any(overlap(path, read) for read in one.inputs))
    return _Node(depth, path, readers=tuple(own))
