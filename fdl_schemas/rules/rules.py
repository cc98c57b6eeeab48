"""The rules that a schema cannot express: names, files, limits of AWS, and the file as a whole.

Each rule is a small function that checks one function of the FDL file, or the whole draft, and records its
findings. All rules run even if parts of the file are wrong: the rules do not see those parts, and a rule that
would only report a consequence first asks `findings` whether its place is intact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeVar

from fdl_schemas.build import Draft, FunctionEntry
from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.graph import Step, loops, most_comparisons
from fdl_schemas.model import ExecutionMode, Function, OscarService, StorageEntry
from fdl_schemas.names import IMAGE_RULE, image_problem, similar_image
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.findings import Findings
from fdl_schemas.rules.archives import check_archive
from fdl_schemas.rules.batch import check_batch
from fdl_schemas.rules.comments import warn_of_comments
from fdl_schemas.rules.environment import check_environment
from fdl_schemas.rules.files import check_files
from fdl_schemas.rules.images import check_image_function
from fdl_schemas.rules.marks import refuse_marks
from fdl_schemas.rules.patterns import warn_of_patterns
from fdl_schemas.rules.queues import check_queues, check_shared_queues, warn_of_direct_events, warn_of_fan_out
from fdl_schemas.rules.regions import check_region_of_parts, check_region_of_readers
from fdl_schemas.rules.storage import check_providers, check_storage
from fdl_schemas.rules.tags import check_tags
from fdl_schemas.rules.without_meaning import warn_of_keys_without_meaning

MAX_COMPARISONS: Final = 2_000_000
"""A chain of a thousand functions on one bucket needs half as many."""


_Step = TypeVar("_Step", Function, OscarService)


def check_rules(draft: Draft, findings: Findings) -> None:
    """Runs every rule over a draft."""
    for entry in draft.functions:
        if findings.full:
            return
        for rule in _FUNCTION_RULES:
            rule(entry, findings)
        check_storage(entry.function, entry.at("lambda"), draft, findings)
        warn_of_comments(entry.function, entry.at("lambda"), findings)
        warn_of_patterns(entry.function, entry.at("lambda"), findings)
        warn_of_keys_without_meaning(entry, findings)
    for path, service in draft.oscar_services.items():
        check_storage(service, path, draft, findings)
        warn_of_comments(service, path, findings)
        warn_of_patterns(service, path, findings)
    check_providers(draft, findings)
    check_region_of_readers(draft, findings)
    refuse_marks(findings)
    _check_unique_names(draft, findings)
    _check_loops(draft, findings)
    check_shared_queues(draft, findings)
    warn_of_fan_out(draft, findings)
    _warn_of_oscar(draft, findings)


# One function


def _check_image(entry: FunctionEntry, findings: Findings) -> None:
    container = entry.function.container
    path = entry.at("lambda", "container")
    if container.image is None and container.image_file is None:
        if findings.is_whole(path) and not findings.has_unknown_keys(entry.at("lambda")):
            findings.error(
                "FDL023",
                f"function {quoted(entry.function.name)} has no container image",
                path if entry.get("lambda", "container") is not None else entry.at("lambda"),
                expected="`container` with `image` or `image_file`",
                help="add `container:`, and `image: NAME` below it",
                on_key=True,
            )
        return
    if container.image is not None and container.image_file is not None:
        findings.error(
            "FDL024",
            "both `image` and `image_file` are set",
            (*path, "image_file"),
            expected="one of the two",
            help="remove one of the two",
            on_key=True,
        )
    if container.image is not None and (problem := image_problem(container.image)):
        similar = similar_image(container.image)
        findings.error(
            "FDL025",
            f"invalid image name: {problem}",
            (*path, "image"),
            expected=IMAGE_RULE,
            help=f"write {quoted(similar)}" if similar else "write the name that `docker pull` accepts",
        )


def _check_time(entry: FunctionEntry, findings: Findings) -> None:
    kept = entry.function.container.timeout_threshold_s
    limits: list[tuple[int, tuple[str, ...]]] = []
    if entry.function.execution_mode is not ExecutionMode.BATCH:
        limits.append((entry.function.timeout_s, ("lambda", "timeout")))
    if entry.function.batch is not None:
        limits.append((entry.function.batch.timeout_s, ("batch", "timeout")))
    given = ("lambda", "container", "timeout_threshold")
    for timeout, steps in limits:
        if kept >= timeout and findings.is_whole(entry.at(*steps)) and findings.is_whole(entry.at(*given)):
            findings.error(
                "FDL030",
                f"`timeout_threshold` ({kept} s) must be less than `timeout` ({timeout} s)",
                entry.at(*(steps if entry.get(*given) is None else given)),
                expected="time to run before the outputs are uploaded",
                help="raise `timeout`, or lower `container.timeout_threshold`",
            )


def _check_file_system(entry: FunctionEntry, findings: Findings) -> None:
    path = entry.at("lambda", "file_system")
    if (
        entry.function.file_systems
        and entry.function.vpc is None
        and findings.is_whole(entry.at("lambda", "vpc"))
        and (entry.function.runs_in_lambda or not entry.get("batch", "compute_resources", "subnets"))
    ):
        findings.error(
            "FDL034",
            "`file_system` requires `vpc`: EFS can only be reached from inside its VPC",
            path,
            expected="`vpc` with SubnetIds and SecurityGroupIds",
            help="add `vpc:` to `lambda`",
            on_key=True,
        )


_FUNCTION_RULES: Final = (
    _check_image,
    check_files,
    check_archive,
    _check_time,
    check_environment,
    check_batch,
    check_tags,
    _check_file_system,
    check_region_of_parts,
    check_image_function,
    check_queues,
    warn_of_direct_events,
)


# The whole file


def _check_unique_names(draft: Draft, findings: Findings) -> None:
    named = [(entry.function.name, entry.at("lambda", "name")) for entry in draft.functions]
    named += [(service.name, (*path, "name")) for path, service in draft.oscar_services.items()]
    first: dict[str, PathInFile] = {}
    for name, path in named:
        if not name:
            continue
        if name in first:
            line = findings.document.value_position(first[name]).line
            findings.error(
                "FDL021",
                f"duplicate function name {quoted(name)}",
                path,
                expected="a different name for each function",
                help=f"the same name is on line {line}; rename one of the two",
            )
        first.setdefault(name, path)


def _check_loops(draft: Draft, findings: Findings) -> None:
    if not findings.is_whole(("allow_loops",)):
        return
    steps: list[Step] = [
        *(_whole_part(entry.function, entry.at("lambda"), findings) for entry in draft.functions),
        *(_whole_part(service, path, findings) for path, service in draft.oscar_services.items()),
    ]
    if most_comparisons(steps) > MAX_COMPARISONS:
        findings.error(
            "FDL003",
            "one bucket has too many different inputs and outputs",
            ("functions",),
            expected=f"at most {MAX_COMPARISONS:,} pairs of an output and an input",
            help="split the workflow into several FDL files",
            on_key=True,
        )
        return
    paths: Sequence[PathInFile] = [
        *(entry.at("lambda") for entry in draft.functions),
        *draft.oscar_services,
    ]
    for loop in loops(steps):
        # The last step is the one that closes the loop.
        step, output = loop.path[-1]
        path = (*paths[step], "output", output, "path")
        what = "triggers itself" if len(loop.path) == 1 else "trigger each other in a loop"
        names = " and ".join(quoted(name) for name in loop.names[:1] if len(loop.path) == 1) or "functions"
        if loop.sure:
            message = f"{names} {what}: {loop}"
            if draft.allow_loops:
                advice = "`allow_loops` permits it; AWS bills every invocation"
                findings.warning("FDL020", message, path, help=advice)
            else:
                expected = "an output folder that no function in the loop reads"
                advice = "write to another folder; if the loop ends by itself, set `allow_loops: true`"
                findings.error("FDL020", message, path, expected=expected, help=advice)
        elif not draft.allow_loops:
            message = f"{names} may {what.replace('triggers', 'trigger')}: {loop}"
            expected = "an output folder outside the input folders"
            advice = "outputs keep their subfolders, and one may be an input; use a separate folder"
            findings.warning("FDL052", message, path, expected=expected, help=advice)


def _whole_part(step: _Step, path: PathInFile, findings: Findings) -> _Step:
    """A function without its wrong inputs and outputs: a wrong filter must not be reported as a loop."""
    if findings.is_whole((*path, "input")) and findings.is_whole((*path, "output")):
        return step
    nothing = StorageEntry("")  # keeps the indexes of the others
    inputs, outputs = (
        tuple(
            entry if findings.is_whole((*path, key, index)) else nothing
            for index, entry in enumerate(entries)
        )
        for key, entries in (("input", step.inputs), ("output", step.outputs))
    )
    return replace(step, inputs=inputs, outputs=outputs)


def _warn_of_oscar(draft: Draft, findings: Findings) -> None:
    for path, service in draft.oscar_services.items():
        findings.warning(
            "FDL054",
            f"OSCAR service {quoted(service.name)} is checked, but not deployed",
            path,
            help="deploy it with oscar-cli; its outputs to S3 are part of the workflow",
            on_key=True,
        )
