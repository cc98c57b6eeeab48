"""From a file to nodes and edges, without a layout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fdl_schemas.build import Draft
from fdl_schemas.diagnostics.diagnostic import printable
from fdl_schemas.graph import Danger, Link, Step, links, most_comparisons
from fdl_schemas.model import ExecutionMode, Function, OscarService, StorageEntry
from fdl_schemas.rules.rules import MAX_COMPARISONS

MAX_STEPS: Final = 1000
_FILTERS_SHOWN: Final = 3


class Kind(StrEnum):
    """The kind of a node, which determines its color."""

    FOLDER = "folder"
    LAMBDA = "lambda"
    BATCH = "batch"
    LAMBDA_BATCH = "lambda-batch"
    OSCAR = "oscar"
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class Node:
    """A box: a folder of a bucket, a function, a service, an HTTP endpoint."""

    kind: Kind
    title: str
    lines: tuple[str, ...] = ()
    group: int = 0
    """Only for folders: the number of the bucket, for its color."""
    danger: Danger = Danger.NONE


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow between two nodes, by their indexes."""

    source: int
    target: int
    label: str = ""
    dashed: bool = False
    """Not a flow of data: one folder is inside the other."""
    danger: Danger = Danger.NONE


@dataclass(frozen=True, slots=True)
class Diagram:
    """The nodes and edges of a workflow."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


class TooLargeError(Exception):
    """The workflow is too large for a diagram."""


def diagram(draft: Draft, title: str) -> Diagram:
    """The nodes and edges of the readable parts of a file.

    Raises:
        TooLargeError: there are more than `MAX_STEPS` functions, or too many connections between them.
    """
    steps: list[Function | OscarService] = [
        *(entry.function for entry in draft.functions),
        *draft.oscar_services.values(),
    ]
    if len(steps) > MAX_STEPS or most_comparisons(steps) > MAX_COMPARISONS:
        raise TooLargeError
    return _Drawing(steps).diagram(title)


class _Drawing:
    """Collects nodes and edges, each once."""

    def __init__(self, steps: Sequence[Function | OscarService]) -> None:
        self._steps = steps
        self._nodes: list[Node] = []
        self._edges: dict[tuple[int, int, bool], Edge] = {}
        self._folders: dict[tuple[str, str, str | None, str | None], int] = {}
        self._buckets: dict[str, int] = {}

    def diagram(self, title: str) -> Diagram:
        plain: list[Step] = list(self._steps)
        found, loop_inputs = links(plain)
        dangers: dict[tuple[int, int], Danger] = {}
        for link in found:
            at = (link.writer, link.output)
            dangers[at] = max(dangers.get(at, Danger.NONE), link.danger)
        for index, step in enumerate(self._steps):
            sources = [
                (number, self._folder(entry)) for number, entry in enumerate(step.inputs) if entry.bucket
            ]
            danger = max((loop_inputs[index, number] for number, _ in sources), default=Danger.NONE)
            node = self._add(_step_node(step, danger))
            if isinstance(step, Function) and step.api_gateway is not None:
                endpoint = Node(Kind.HTTP, printable(step.api_gateway.name), ("HTTP endpoint",))
                self._connect(self._add(endpoint), node)
            for number, folder in sources:
                self._connect(folder, node, _filters(step.inputs[number]), danger=loop_inputs[index, number])
            for number, entry in enumerate(step.outputs):
                if entry.bucket:
                    danger = dangers.get((index, number), Danger.NONE)
                    self._connect(node, self._folder(entry), _filters(entry), danger=danger)
        self._connect_nested(found)
        return Diagram(printable(title), tuple(self._nodes), tuple(self._edges.values()))

    def _connect_nested(self, found: Iterable[Link]) -> None:
        """Connects nested folders: a file in `in/raw/` is also in `in/`."""
        for link in found:
            written = self._folder(self._steps[link.writer].outputs[link.output])
            read = self._folder(link.trigger)
            if written != read and (link.sure or link.danger):
                self._connect(
                    written,
                    read,
                    "is inside" if link.sure else "may be inside",
                    dashed=True,
                    danger=link.danger,
                )

    def _folder(self, entry: StorageEntry) -> int:
        provider = "s3" if entry.provider.partition(".")[0] == "s3" else entry.provider
        given_queue = None if entry.queue is None else entry.queue.arn
        key = (f"{provider}:{entry.bucket}", entry.folder, entry.topic_arn, given_queue)
        if key not in self._folders:
            lines = [f"/{entry.folder}" if entry.folder else "the whole bucket"]
            if entry.provider != "s3":
                lines.append(f"on {entry.provider}")
            if entry.topic_arn is not None:
                lines.append(f"by topic {entry.topic_arn.rpartition(':')[2]}")
            if given_queue is not None:
                lines.append(f"by queue {given_queue.rpartition(':')[2]}")
            group = self._buckets.setdefault(key[0], len(self._buckets))
            self._folders[key] = self._add(
                Node(Kind.FOLDER, printable(entry.bucket), tuple(map(printable, lines)), group)
            )
        return self._folders[key]

    def _add(self, node: Node) -> int:
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _connect(
        self, source: int, target: int, label: str = "", *, dashed: bool = False, danger: Danger = Danger.NONE
    ) -> None:
        known = self._edges.get((source, target, dashed))
        if known is not None:
            # Two inputs on one folder. One without a filter matches everything.
            if not (known.label and label):
                label = ""
            elif known.label != label:
                label = f"{known.label}, {label}"
            danger = max(known.danger, danger)
        self._edges[source, target, dashed] = Edge(source, target, label, dashed, danger)


def _step_node(step: Function | OscarService, danger: Danger) -> Node:
    name = printable(step.name) or "(no name)"
    if isinstance(step, OscarService):
        lines = [f"OSCAR, {step.cluster}", step.image]
        return Node(Kind.OSCAR, name, _texts(lines), danger=danger)
    container, job = step.container, step.batch
    image = container.image or (container.image_file.name if container.image_file else "(no image)")
    in_lambda = f"{step.memory_mib} MiB, {step.timeout_s} s"
    in_batch = f"{job.vcpus:g} vCPU, {job.memory_mib} MiB" if job is not None else ""
    lines = {
        ExecutionMode.LAMBDA: [f"Lambda: {in_lambda}"],
        ExecutionMode.BATCH: [f"Batch: {in_batch}"],
        ExecutionMode.LAMBDA_BATCH: [f"Lambda: {in_lambda}", f"then Batch: {in_batch}"],
    }[step.execution_mode]
    queues = {entry.queue for entry in step.inputs if entry.queue is not None}
    if queues:
        lines.append(f"queue: {sum(queue.max_concurrency for queue in queues)} at a time")
    return Node(Kind(step.execution_mode.value), name, _texts([*lines, image]), danger=danger)


def _texts(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(printable(line) for line in lines if line)


def _filters(entry: StorageEntry) -> str:
    """`frame-*, *.jpg`: the filters on file names."""
    parts = []
    for patterns in (
        [f"{prefix}*" for prefix in entry.prefixes],
        [f"*{suffix}" for suffix in entry.suffixes],
    ):
        shown = patterns[:_FILTERS_SHOWN] + ["…"] * (len(patterns) > _FILTERS_SHOWN)
        if shown:
            parts.append(", ".join(shown))
    return printable(" and ".join(parts))
