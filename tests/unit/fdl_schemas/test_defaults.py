"""A default that the schema tells editors and readers of the documentation is the one that the model has."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from fdl_schemas.build import build
from fdl_schemas.model import Workflow
from fdl_schemas.reading.schema import schema

Path_ = tuple[str | int, ...]

PLAIN: dict[str, Any] = {
    "functions": {
        "aws": [
            {
                "lambda": {
                    "name": "f",
                    "execution_mode": "lambda-batch",
                    "container": {"image": "busybox"},
                    "input": [{"path": "bucket/in", "queue": {}}],
                    "output": [{"path": "bucket/out"}],
                },
                "api_gateway": {"name": "api"},
            }
        ],
        "oscar": [
            {
                "cluster": {
                    "name": "o",
                    "input": [{"path": "b/in", "queue": {}}],
                    "output": [{"path": "b/out"}],
                }
            }
        ],
    },
    "storage_providers": {"minio": {"lab": {"endpoint": "https://minio.example.org"}}},
}
SEVERAL_NODES = deepcopy(PLAIN)
SEVERAL_NODES["functions"]["aws"][0]["batch"] = {
    "multi_node_parallel": {"enabled": True},
    "compute_resources": {"type": "EC2"},
}
IN_LAMBDA = deepcopy(PLAIN)
del IN_LAMBDA["functions"]["aws"][0]["lambda"]["execution_mode"]


def resolved(about: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in about:
        return about
    target: dict[str, Any] = schema()["$defs"][about["$ref"].removeprefix("#/$defs/")]
    return {**resolved(target), **about}


def defaults(about: dict[str, Any], path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Everything with a default that has a place in the documents above."""
    about = resolved(about)
    if path and "default" in about:
        yield path, about["default"]
    for name, below in about.get("properties", {}).items():
        yield from defaults(below, (*path, name))
    if isinstance(about.get("items"), dict):
        yield from defaults(about["items"], (*path, 0))
    if isinstance(about.get("additionalProperties"), dict):
        names = {"oscar": "cluster", "minio": "lab"}
        name = next((names[str(step)] for step in reversed(path) if step in names), None)
        if name is not None:
            yield from defaults(about["additionalProperties"], (*path, name))


def with_value(document: dict[str, Any], path: Path_, value: Any) -> dict[str, Any] | None:
    """The document with something set at a path; None if it is set there already, or has no such list."""
    document = deepcopy(document)
    place: Any = document
    for step in path[:-1]:
        if isinstance(place, list):
            if not place:
                return None
            place = place[0]
        else:
            place = place.setdefault(step, {})
    if isinstance(place, list) or path[-1] in place:
        return None
    place[path[-1]] = value
    return document


def workflow(document: dict[str, Any]) -> Workflow:
    return build(document, Path("/")).workflow(Path("/w.yaml"))


JOB_MEMORY = ("functions", "aws", 0, "batch", "memory")
"""Decides about the number of vCPUs too, as Fargate does not offer both defaults together."""
DEFAULTS = [(path, value) for path, value in defaults(schema()) if path != JOB_MEMORY]


@pytest.mark.parametrize(("path", "value"), DEFAULTS, ids=[".".join(map(str, path)) for path, _ in DEFAULTS])
def test_what_is_set_to_its_default_means_the_same_as_what_is_left_out(path: Path_, value: Any) -> None:
    for document in (PLAIN, SEVERAL_NODES, IN_LAMBDA):
        changed = with_value(document, path, value)
        if changed is not None:
            assert workflow(changed) == workflow(document)


def test_the_defaults_that_matter_most_are_among_them() -> None:
    said = {path[-1]: value for path, value in DEFAULTS if path[:4] == ("functions", "aws", 0, "lambda")}
    assert (said["memory"], said["timeout"], said["ephemeral_storage"]) == (512, 300, 512)
    assert said["execution_mode"] == "lambda"
    assert len(DEFAULTS) > 30
