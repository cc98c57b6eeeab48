"""Which functions are in nested stacks, because one stack has no room for all of them.

CloudFormation allows 500 resources in a stack. It cannot move a function to another stack: it would create
the new one before it deletes the old one, which has the same name. The place of each function of a large
workflow is therefore recorded in a file beside the FDL file, `NAME.stacks.json`, which belongs into version
control. A small workflow has no such file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from fdl_schemas.model import Workflow
from fdl_schemas.stages import unstaged
from scar_constructs.deployment import DeploymentError
from scar_constructs.resource_counts import of_each_part, resources_of, shared_resources
from scar_constructs.storage.event_rules import buckets_for_event_bridge

MAIN = 0
"""The number of the stack itself. Nested stacks have the numbers 1, 2, …"""

SUFFIX = ".stacks.json"
MOST_RESOURCES = 500
"""In a stack (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html)."""

_FULL = 400
"""New functions are put into other stacks from here on, because those of this one may need more later."""
_FULL_AT_FIRST = 490
"""Up to here, a workflow without a file may be deployed in one stack."""
_ABOUT = (
    "Written by scar-cdk. Commit this file: it records the nested stack of each function (0: none), because "
    "CloudFormation cannot move a deployed function to another stack."
)


def parts_of(
    workflow: Workflow, *, distributed_launch: bool = False, alarms: bool = False, dashboard: bool = False
) -> Mapping[str, int]:
    """The number of the stack of each function, by its final name. Writes the file if it has to change.

    Functions that the file contains stay where they are. All others are put into the first stack with room,
    in the order of the FDL file. Functions that left the workflow stay in the file, because they may return
    while they are still deployed.

    :param workflow: the functions of one region, with their final names.
    :param distributed_launch: see `WorkflowResources`.
    :param alarms: whether there are alarms.
    :param dashboard: see `WorkflowResources`.
    :raises DeploymentError: the file is invalid or cannot be written, or the workflow has too many buckets.
    """
    path = workflow.source.with_name(f"{workflow.name}{SUFFIX}")
    recorded = _read(path)
    most, exact = (
        {
            function.name: resources_of(
                function, distributed_launch=distributed_launch, alarms=alarms, event_bridge=event_bridge
            )
            for function in workflow.functions
        }
        for event_bridge in (None, buckets_for_event_bridge(workflow.functions))
    )
    shared = shared_resources(workflow, alarms=alarms, dashboard=dashboard)
    if not recorded and shared + sum(most.values()) <= _FULL:
        return dict.fromkeys(most, MAIN)
    if shared > _FULL:
        raise DeploymentError(
            f"{workflow.source.name}: its {len(workflow.buckets)} buckets do not fit into one stack, because "
            f"CloudFormation allows {MOST_RESOURCES} resources. Use folders of fewer buckets, or several FDL "
            "files"
        )
    found = {
        name: recorded[original] for name in most if (original := unstaged(name, workflow.stage)) in recorded
    }
    if not recorded and shared + sum(exact.values()) <= _FULL_AT_FIRST:
        found = dict.fromkeys(most, MAIN)
    used = Counter({MAIN: shared})
    for name, number in found.items():
        used[number] += most[name]
    for name, size in most.items():
        if name not in found:
            number = MAIN
            while used[number] + size > _FULL:
                number += 1
                used[number] = used[number] or of_each_part(workflow, alarms=alarms, dashboard=dashboard)
            found[name] = number
            used[number] += size
    places = {**recorded, **{unstaged(name, workflow.stage): number for name, number in found.items()}}
    if places != recorded:
        _write(path, places)
    return found


def _read(path: Path) -> Mapping[str, int]:
    try:
        places = _places(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise DeploymentError(
            f"{path} cannot be read ({problem}): restore it from version control. Deployed functions cannot "
            "move to other stacks"
        ) from None
    return places


def _places(content: Mapping[str, Mapping[str, object]]) -> Mapping[str, int]:
    """
    :raises KeyError, TypeError, ValueError: it is not the content of such a file.
    """
    places = {}
    for name, number in dict(content["functions"]).items():
        if not isinstance(number, int) or number not in range(MOST_RESOURCES):
            raise ValueError(f"the stack of {name} is {number!r}")
        places[name] = number
    return places


def _write(path: Path, places: Mapping[str, int]) -> None:
    content = {"about": _ABOUT, "functions": dict(sorted(places.items()))}
    try:
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as problem:
        raise DeploymentError(
            f"{path} cannot be written: {problem.strerror}. The workflow needs it to keep functions in their "
            "stacks"
        ) from None
