"""Multi-node jobs: the records of their nodes.

The job itself has `nodeProperties`, and no container of its own; each node has a record with the id `JOB#n`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ministack.services import batch as stub

from local_cloud.batch.errors import ClientError
from local_cloud.batch.properties import new_container

Record = dict[str, Any]
_MOST_NODES = 1000
_TARGETS = re.compile(r"([0-9]*)(:?)([0-9]*)")


def check_definition(request: Record) -> None:
    """Raise ClientError for a job definition of type multinode that AWS rejects."""
    if "FARGATE" in (request.get("platformCapabilities") or []):
        raise ClientError("Multi-node parallel jobs are not supported on Fargate")
    properties = request.get("nodeProperties") or {}
    number, main = int(properties.get("numNodes", 0)), int(properties.get("mainNode", 0))
    if not 1 <= number <= _MOST_NODES:
        raise ClientError(f"nodeProperties.numNodes must be between 1 and {_MOST_NODES}, and is {number}")
    if not 0 <= main < number:
        raise ClientError(f"nodeProperties.mainNode must be less than numNodes, and is {main}")
    for index in range(number):
        if "container" not in _range_of(index, number, properties):
            raise ClientError("Each nodeRangeProperties needs a container")


def with_nodes(job: Record, properties: Record, overrides: Record) -> list[Record]:
    """A multi-node job, and its nodes."""
    number = int(overrides.get("numNodes") or properties["numNodes"])
    changed = overrides.get("nodePropertyOverrides") or []

    def container(index: int, of: Record) -> Record:
        made: Record = of
        for override in changed:
            if index in _targets(override["targetNodes"], number):
                made = new_container(made, override.get("containerOverrides") or {}, {})
        return new_container(made, {}, job["parameters"])

    ranges = [
        {**of, "container": container(_targets(of["targetNodes"], number).start, of["container"])}
        for of in properties["nodeRangeProperties"]
    ]
    template, main = json.dumps(job), int(properties["mainNode"])
    job["nodeProperties"] = {"numNodes": number, "mainNode": main, "nodeRangeProperties": ranges}
    jobs = [job]
    for index in range(number):
        node: Record = json.loads(template)
        node["jobId"] = f"{job['jobId']}#{index}"
        node["jobArn"] = stub._job_arn(node["jobId"])
        node["nodeProperties"] = {"nodeIndex": index, "isMainNode": index == main}
        node["container"] = container(index, _range_of(index, number, properties)["container"])
        jobs.append(node)
    return jobs


def _range_of(index: int, number: int, properties: Record) -> Record:
    """The properties of a node: those of the narrowest range that it is in.

    Raises:
        ClientError: it is in none.
    """
    ranges = [
        (len(targets), of)
        for of in properties.get("nodeRangeProperties") or []
        if index in (targets := _targets(of["targetNodes"], number))
    ]
    if not ranges:
        raise ClientError(f"No nodeRangeProperties for node {index}")
    narrowest: Record = min(ranges, key=lambda found: found[0])[1]
    return narrowest


def _targets(text: str, number: int) -> range:
    """The nodes that `2`, `0:3`, `:3` or `2:` names."""
    found = _TARGETS.fullmatch(text)
    if found is None or text in ("", ":"):
        raise ClientError(f"Invalid targetNodes: {text!r}")
    first, colon, last = found.groups()
    if not colon:
        return range(int(first), int(first) + 1)
    return range(int(first or 0), min(int(last) + 1 if last else number, number))
