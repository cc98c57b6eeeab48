"""What the language has and the constructs have not learned yet. Refused, so that no key is silently ignored.

`UNSUPPORTED` is the whole list for single keys: delete a line when the constructs (or the runner) know what
to do with the key. The schema, the rules and the model know all of these keys already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fdl_schemas.build import Draft
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.findings import Findings


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A key, or some of its values, in an entry of `functions.aws`."""

    path: str
    """Where it stands, joined by dots; `*` is every entry of a list."""
    what: str
    when: Callable[[Any], bool] = lambda _: True
    """Which of its values are refused; all, where nothing is said."""
    instead: str = "remove the key"


def _one_of(*values: object) -> Callable[[Any], bool]:
    return lambda value: value in values


_ON: Callable[[Any], bool] = lambda value: value is True  # noqa: E731

UNSUPPORTED: Final = (
    Unsupported("batch.enable_gpu", "a GPU for Batch jobs", _ON),
    Unsupported("batch.multi_node_parallel.enabled", "Batch jobs on several nodes", _ON),
    Unsupported(
        "batch.compute_resources.type",
        "compute resources of type EC2 and SPOT",
        _one_of("EC2", "SPOT"),
        "use FARGATE or FARGATE_SPOT",
    ),
)


def refuse_unsupported(draft: Draft, findings: Findings) -> None:
    """Notes an error for everything in a draft that cannot be deployed yet."""
    for entry in draft.functions:
        for unsupported in UNSUPPORTED:
            if entry.function.batch is None and unsupported.path.startswith("batch."):
                continue  # SCAR's files have these also where nothing runs in Batch: a warning says so
            for steps, value in _values(entry.data, tuple(unsupported.path.split("."))):
                if value is not None and unsupported.when(value):
                    _refuse(unsupported.what, entry.at(*steps), unsupported.instead, findings)
        if entry.function.batch is not None and entry.get("lambda", "file_system"):
            _refuse(
                "`file_system` for Batch jobs",
                entry.at("lambda", "file_system"),
                "use `execution_mode: lambda`",
                findings,
            )


def _values(data: Any, steps: tuple[str, ...]) -> list[tuple[PathInFile, Any]]:
    found: list[tuple[PathInFile, Any]] = [((), data)]
    for step in steps:
        if step == "*":
            found = [
                ((*path, index), item)
                for path, value in found
                if isinstance(value, list)
                for index, item in enumerate(value)
            ]
        else:
            found = [
                ((*path, step), value[step])
                for path, value in found
                if isinstance(value, dict) and step in value
            ]
    return found


def _refuse(what: str, path: PathInFile, instead: str, findings: Findings) -> None:
    findings.error(
        "FDL040",
        f"not supported yet: {what}",
        path,
        expected="a workflow without it",
        help=instead,
        on_key=isinstance(path[-1], str),
    )
