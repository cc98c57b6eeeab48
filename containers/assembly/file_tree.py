"""The combined file system of all layers, looked up path by path, without unpacking it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from containers.assembly.layer_report import LayerReport, NotedFile
from containers.assembly.layer_writer import parents_of
from containers.paths import follow_links


@dataclass(frozen=True)
class Ordinary:
    """A file that all users may read, and that is not a program."""


@dataclass(frozen=True)
class SymbolicLink:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Directory:
    """A directory; `node` is None if no layer has an entry for it."""

    node: NotedFile | None


Found = Directory | SymbolicLink | Ordinary | NotedFile
"""The type of a path; a Node is a program, or a file that other users may not read."""


class FileTree:
    """Layers on top of each other, from the bottom up."""

    def __init__(self, layers: Sequence[LayerReport]) -> None:
        self._layers = list(reversed(layers))

    def look_up(self, path: str) -> Found | None:
        """The entry at `path` (no leading slash, no links followed), or None."""
        if not path:
            return Directory(next((r.directories[""] for r in self._layers if "" in r.directories), None))
        above = [*parents_of(path)]
        implied = False
        for layer in self._layers:
            if path in layer.files:
                return layer.files[path]
            if path in layer.links:
                return SymbolicLink(layer.links[path])
            if path in layer.directories:
                return Directory(layer.directories[path])
            if layer.is_ordinary(path):
                return Ordinary()
            implied = implied or path in layer.orphans
            if path in layer.whiteouts or any(
                parent in layer.whiteouts or parent in layer.opaque or parent in layer.links
                for parent in above
            ):
                break
        return Directory(None) if implied else None

    def text(self, path: str) -> str | None:
        """The content of one of the files whose text is kept; None if it is not a regular file."""
        above = [*parents_of(path)]
        for layer in self._layers:
            if path in layer.texts:
                return layer.texts[path]
            if path in layer.whiteouts or path in layer.links or path in layer.directories:
                return None
            if any(parent in layer.whiteouts or parent in layer.opaque for parent in above):
                return None
        return None

    def walk(self, path: str) -> Iterator[tuple[str, Found | None]]:
        """Every directory on the path to `path`, as the container sees it with all links followed, and
        finally its entry."""
        yield "", self.look_up("")
        with contextlib.suppress(OSError):  # a loop of links: the path does not exist
            for parts, found, _is_last in follow_links(path, self._look_up_parts, _link_target):
                yield "/".join(parts), found
                if found is None:
                    return

    def _look_up_parts(self, *parts: str) -> Found | None:
        return self.look_up("/".join(parts))


def _link_target(found: Found | None) -> str | None:
    return found.target if isinstance(found, SymbolicLink) else None


def missing_parents(layers: Sequence[LayerReport]) -> list[set[str]]:
    """For each layer, from the bottom up, the parent directories of its files without an entry in it or a
    layer below.

    Lambda unpacks the layers in order and does not create missing directories: `MissingParentDirectory:
    Parent directory does not exist for file` (aspect-build/rules_aws 96 and 103).
    """
    missing: list[set[str]] = []
    for number, layer in enumerate(layers):
        below = FileTree(layers[:number])
        missing.append({path for path in layer.orphans if not _is_there(below, path, missing)})
    return missing


def _is_there(below: FileTree, path: str, mended: Sequence[set[str]]) -> bool:
    found = below.look_up(path)
    if isinstance(found, SymbolicLink):
        return True
    if isinstance(found, Directory):
        return found.node is not None or any(path in added for added in mended)
    return False
