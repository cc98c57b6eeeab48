"""The stacks of a workflow with functions in several regions: one for each region.

S3 notifies only functions in the bucket's region. A bucket is therefore created in the region where it is
read (or, if no function reads it, where it is first written). Functions in other regions write to it by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fdl_schemas.model import Function, StorageEntry, Workflow
from scar_constructs.deployment import DeploymentError


@dataclass(frozen=True, slots=True)
class RegionalPart:
    """The part of a workflow in one stack."""

    workflow: Workflow
    """The functions of one region."""
    region: str | None = None
    """None: the deployment's."""
    suffix: str = ""
    """Of the stack's name."""
    foreign_buckets: tuple[str, ...] = ()
    """Buckets that a function here writes to and another stack makes."""
    needs: tuple[int, ...] = ()
    """Indexes of the parts that create them."""


def split_by_region(workflow: Workflow, deployment_region: str | None) -> tuple[RegionalPart, ...]:
    """One part for each region, in the order of the functions.

    The stack of the deployment's own region has no suffix, and neither has one that is the only one.

    :param deployment_region: the region that the cdk command deploys to, if it is known.
    :raises DeploymentError: functions of two regions read one bucket.
    """
    regions = {function.region for function in workflow.functions}
    if len(regions) <= 1:
        return (RegionalPart(workflow, next(iter(regions), None)),)
    by_region: dict[str | None, list[Function]] = {}
    for function in workflow.functions:
        # Said or unsaid, the deployment's region is one region.
        region = None if function.region == deployment_region else function.region
        by_region.setdefault(region, []).append(function)
    if len(by_region) == 1:
        return (RegionalPart(workflow, deployment_region),)
    owners = _owners(by_region)
    order = list(by_region)
    parts = []
    for region, functions in by_region.items():
        part = replace(workflow, functions=tuple(functions))
        foreign = tuple(name for name in part.buckets if owners[name] != region)
        parts.append(
            RegionalPart(
                workflow=part,
                region=deployment_region if region is None else region,
                suffix="" if region is None else f"-{region}",
                foreign_buckets=foreign,
                needs=tuple(sorted({order.index(owners[name]) for name in foreign})),
            )
        )
    return tuple(parts)


def folders_of(workflow: Workflow) -> Mapping[str, Sequence[str]]:
    """The folders that functions name in each bucket of the workflow."""
    folders: dict[str, list[str]] = {name: [] for name in workflow.buckets}
    for function in workflow.functions:
        for entry in _own((*function.inputs, *function.outputs)):
            if entry.folder and entry.folder not in folders[entry.bucket]:
                folders[entry.bucket].append(entry.folder)
    return folders


def in_an_order_without_circles(parts: Sequence[RegionalPart]) -> Iterator[tuple[int, int]]:
    """(part, part that should be deployed before it): only those that make no circle, as buckets are known by
    their names and the order only matters to the first events."""
    before: dict[int, set[int]] = {index: set() for index in range(len(parts))}

    def reaches(start: int, goal: int) -> bool:
        return start == goal or any(reaches(following, goal) for following in before[start])

    for index, part in enumerate(parts):
        for needed in part.needs:
            if not reaches(needed, index):
                before[index].add(needed)
                yield index, needed


def _owners(by_region: Mapping[str | None, Sequence[Function]]) -> Mapping[str, str | None]:
    readers: dict[str, tuple[str | None, str]] = {}
    for region, functions in by_region.items():
        for function in functions:
            for entry in _own(function.inputs):
                first, name = readers.setdefault(entry.bucket, (region, function.name))
                if first != region:
                    raise DeploymentError(
                        f"bucket {entry.bucket} is read by function {name} in {_named(first)} and by "
                        f"function {function.name} in {_named(region)}: S3 notifies functions in one region "
                        "only; use a separate bucket for each region"
                    )
    owners = {bucket: region for bucket, (region, _) in readers.items()}
    for region, functions in by_region.items():
        for function in functions:
            for entry in _own(function.outputs):
                owners.setdefault(entry.bucket, region)
    return owners


def _own(entries: Sequence[StorageEntry]) -> Iterator[StorageEntry]:
    """Those in buckets of the function's own account."""
    return (entry for entry in entries if entry.provider == "s3" and not entry.is_notified_elsewhere)


def _named(region: str | None) -> str:
    return region or "the deployment's region"
