"""The workflow as nodes and arrows, with the files that went along each arrow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scar_cli.runs.store import STATUS_NUMBERS, Files
from scar_cli.runs.summary import Overview

_FAILED = STATUS_NUMBERS["failed"]


def workflow_of(overview: Overview, files: Iterable[Files]) -> dict[str, Any]:
    """Folders, functions and HTTP endpoints, and the arrows between them, as the stacks describe them.

    Raises:
        UserError: the disk is full.
    """
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []
    folders: dict[str, int] = {}
    buckets: dict[str, int] = {}
    read: dict[tuple[int, int], list[float]] = {}
    for one in files:
        entry = read.setdefault((one.function, one.folder), [0, 0, 0.0])
        entry[0] += one.files
        entry[1] += one.files if one.status == _FAILED else 0
        entry[2] += one.bytes

    def node(kind: str, title: str, *lines: str, **more: Any) -> int:
        nodes.append({"kind": kind, "title": title, "lines": list(lines), **more})
        return len(nodes) - 1

    def folder(path: str) -> int:
        bucket, _, rest = path.strip("/").partition("/")
        if path.strip("/") not in folders:
            group = buckets.setdefault(bucket, len(buckets))
            line = f"/{rest}" if rest else "the whole bucket"
            folders[path.strip("/")] = node("folder", bucket, line, group=group)
        return folders[path.strip("/")]

    def edge(source: int, target: int, **numbers: Any) -> None:
        edges.append({"source": source, "target": target, "label": "", "dashed": False, **numbers})

    written = overview.outputs()
    for number, numbers in enumerate(overview.functions):
        function = numbers.function
        own = node(function.mode, function.name, function=number)
        entries = dict.fromkeys(function.inputs)
        for path in entries:
            count, failed, size = read.get((number, overview.folders.number(path)), (0, 0, 0.0))
            edge(folder(path), own, files=int(count), failed=int(failed), bytes=round(size))
        if function.api_url is not None:
            count, failed, size = read.get((number, -1), (0, 0, 0.0))
            endpoint = node("http", function.api_url, "HTTP endpoint")
            edge(endpoint, own, files=int(count), failed=int(failed), bytes=round(size))
        for path in dict.fromkeys(function.outputs):
            edge(own, folder(path), files=written[number][overview.folders.number(path)])
    for path, number in folders.items():
        for outer, other in folders.items():
            if path.startswith(f"{outer}/"):
                edges.append({"source": number, "target": other, "label": "is inside", "dashed": True})
    return {"nodes": nodes, "edges": edges}
