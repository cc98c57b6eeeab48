"""Keys of the language that cannot be deployed yet. They are errors, so that no key is silently ignored.

`UNSUPPORTED` lists single keys: delete a line when the constructs and the runner support the key. The schema,
the rules and the model already do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fdl_schemas.build import Draft
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.findings import Findings


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Some values of a key in an entry of `functions.aws`."""

    path: str
    """Path of the key, joined by dots."""
    what: str
    values: tuple[object, ...] = (True,)
    instead: str = "remove the key"


UNSUPPORTED: Final = (
    Unsupported("batch.enable_gpu", "a GPU for Batch jobs"),
    Unsupported("batch.multi_node_parallel.enabled", "Batch jobs on several nodes"),
    Unsupported(
        "batch.compute_resources.type",
        "compute resources of type EC2 and SPOT",
        ("EC2", "SPOT"),
        "use FARGATE or FARGATE_SPOT",
    ),
)


def refuse_unsupported(draft: Draft, findings: Findings) -> None:
    """Reports everything in a draft that cannot be deployed yet."""
    for entry in draft.functions:
        if entry.function.batch is None:
            continue  # SCAR's files have these also without Batch: a warning is reported
        for unsupported in UNSUPPORTED:
            steps = unsupported.path.split(".")
            if entry.get(*steps) in unsupported.values:
                _refuse(unsupported.what, entry.at(*steps), unsupported.instead, findings)
        if entry.get("lambda", "file_system"):
            _refuse(
                "`file_system` for Batch jobs",
                entry.at("lambda", "file_system"),
                "use `execution_mode: lambda`",
                findings,
            )


def _refuse(what: str, path: PathInFile, instead: str, findings: Findings) -> None:
    findings.error(
        "FDL040",
        f"not supported yet: {what}",
        path,
        expected="a workflow that does not use it",
        help=instead,
        on_key=True,
    )
