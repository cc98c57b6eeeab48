"""Container properties of a job definition, with the overrides of a submission."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_Properties = dict[str, Any]


def new_container(
    properties: _Properties, overrides: _Properties, parameters: Mapping[str, str]
) -> _Properties:
    """A job's container: what the definition says, with the overrides of the submission."""
    container: _Properties = json.loads(json.dumps(properties))
    command = overrides.get("command") or properties.get("command") or []
    container["command"] = substitute(command, parameters)
    container["environment"] = list(_merged(properties, overrides, "environment", "name"))
    container["resourceRequirements"] = list(_merged(properties, overrides, "resourceRequirements", "type"))
    container.setdefault("volumes", [])
    container.setdefault("mountPoints", [])
    for key in ("vcpus", "memory"):
        if key in overrides:
            container[key] = overrides[key]
    return container


def _merged(properties: _Properties, overrides: _Properties, key: str, name: str) -> Iterator[_Properties]:
    by_name = {entry[name]: entry for entry in properties.get(key) or []}
    by_name.update({entry[name]: entry for entry in overrides.get(key) or []})
    yield from by_name.values()


def substitute(words: list[str], parameters: Mapping[str, str]) -> list[str]:
    """A command with its `Ref::name` words replaced by the job's parameters."""
    return [parameters.get(word[5:], word) if word.startswith("Ref::") else word for word in words]


def requirement(container: Mapping[str, Any], kind: str) -> float | None:
    """How many vCPUs (`VCPU`), or how much memory in MiB (`MEMORY`), a container asks for."""
    for entry in container.get("resourceRequirements") or []:
        if entry.get("type") == kind:
            return float(entry["value"])
    value = container.get({"VCPU": "vcpus", "MEMORY": "memory"}[kind])
    return None if value is None else float(value)
