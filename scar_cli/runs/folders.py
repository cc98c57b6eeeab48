"""Folders of inputs and outputs, for the names of files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

_MOST_KNOWN = 10_000


@dataclass
class Folders:
    """Splits URIs into one of some folders and the rest."""

    uris: list[str] = field(default_factory=list)
    """`s3://bucket/folder/`."""
    _known: dict[str, tuple[int, int]] = field(default_factory=dict)
    """For URIs up to their last slash: number and length of the folder."""

    @classmethod
    def of(cls, paths: Iterable[str]) -> Folders:
        """For folders of S3 as `bucket/folder`, each once."""
        return cls(list(dict.fromkeys(map(_uri, paths))))

    def number(self, path: str) -> int:
        """The number of a folder, given as `bucket/folder`."""
        return self.uris.index(_uri(path))

    def split(self, uri: str) -> tuple[int, str]:
        """The number of the longest folder that contains the object, and the name below it.

        -1 and the whole URI, if no folder does.
        """
        parent = uri[: uri.rfind("/") + 1]
        found = self._known.get(parent)
        if found is None:
            fitting = [number for number, folder in enumerate(self.uris) if parent.startswith(folder)]
            number = max(fitting, key=lambda one: len(self.uris[one]), default=-1)
            found = number, len(self.uris[number]) if number >= 0 else 0
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[parent] = found
        return found[0], uri[found[1] :]


def _uri(path: str) -> str:
    return f"s3://{path.strip('/')}/"
