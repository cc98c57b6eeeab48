"""The rules about regions: layers, file systems, queues and notifications are in the function's region."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fdl_schemas.build import Draft, FunctionEntry
from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.findings import Findings

_REGION_OF_ARN: Final = 3
_NAME_OF_LAYER: Final = 6


def check_region_of_parts(entry: FunctionEntry, findings: Findings) -> None:
    """Checks that layers, file systems and queues are in the function's region, and that no layer is listed
    twice.

    Source: AWS Lambda developer guide, "Adding layers to functions", "Configuring file system access" and
    "Using Lambda with Amazon SQS".
    """
    if not findings.is_whole(entry.at("lambda", "region")):
        return
    region = entry.function.region
    layers: set[str] = set()
    for what, path, arn in _parts(entry):
        parts = arn.split(":")
        region = region or parts[_REGION_OF_ARN]
        if parts[_REGION_OF_ARN] != region:
            findings.error(
                "FDL035",
                f"the {what} is in {quoted(parts[_REGION_OF_ARN])}, the function in {quoted(region)}"
                if entry.function.region
                else f"the {what} is in {quoted(parts[_REGION_OF_ARN])}, another one in {quoted(region)}",
                path,
                expected=f"a {what} in the function's own region",
                help=f"use a {what} in {quoted(region)}, or change the function's `region`",
            )
        elif what == "layer":
            layer = ":".join(parts[: _NAME_OF_LAYER + 1])
            if layer in layers:
                findings.error(
                    "FDL035",
                    f"duplicate layer {quoted(parts[_NAME_OF_LAYER])}",
                    path,
                    expected="one version of each layer",
                    help="remove one of the two",
                )
            layers.add(layer)


def _parts(entry: FunctionEntry) -> Iterator[tuple[str, PathInFile, str]]:
    layers: list[Any] = entry.get("lambda", "layers") or []
    for index, arn in enumerate(layers):
        if isinstance(arn, str):
            yield "layer", entry.at("lambda", "layers", index), arn
    systems: list[Any] = entry.get("lambda", "file_system") or []
    for index, system in enumerate(systems):
        if isinstance(system, dict) and "Arn" in system:
            yield "file system", entry.at("lambda", "file_system", index, "Arn"), system["Arn"]
    for index, read in enumerate(entry.function.inputs):
        if read.queue is not None and read.queue.arn is not None:
            yield "queue", entry.at("lambda", "input", index, "queue", "arn"), read.queue.arn


def check_region_of_readers(draft: Draft, findings: Findings) -> None:
    """Checks that no bucket triggers functions in two regions: S3 only notifies functions of its own region.

    The region of a function without `region` is known at deployment, which checks again.
    """
    first: dict[str, FunctionEntry] = {}
    for entry in draft.functions:
        region = entry.function.region
        if region is None:
            continue
        for index, read in enumerate(entry.function.inputs):
            at = entry.at("lambda", "input", index)
            if read.provider != "s3" or read.is_notified_elsewhere or not findings.is_whole(at):
                continue
            other = first.setdefault(read.bucket, entry).function
            if other.region != region and findings.is_first_mention("FDL035", read.bucket):
                findings.error(
                    "FDL035",
                    f"bucket {quoted(read.bucket)} triggers {quoted(other.name)} in "
                    f"{quoted(other.region)} and {quoted(entry.function.name)} in {quoted(region)}",
                    (*at, "path"),
                    expected="functions in one region; S3 only notifies functions in the bucket's region",
                    help="use a separate bucket for each region",
                )
