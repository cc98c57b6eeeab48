"""`AWS::Batch::ComputeEnvironment`, `JobQueue` and `JobDefinition` in the emulator's CloudFormation.

`Ref` gives an ARN for all three types, as on AWS. A changed job definition becomes a new revision with a new
ARN, after which the old one is deregistered; a name or type that changes makes a new resource.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.services import batch as stub
from ministack.services.cloudformation import provisioners

from local_cloud.batch.records import Record

_Provisioned = tuple[str, dict[str, str]]
_VERBATIM = frozenset({"Tags", "Parameters", "Options"})
"""Maps whose keys are the user's own."""


def install() -> None:
    """Teach the emulator's CloudFormation the three types, by the calls of Batch's API."""
    provisioners._RESOURCE_HANDLERS.update(
        {
            "AWS::Batch::ComputeEnvironment": _handlers("ComputeEnvironment", "create", "update", "delete"),
            "AWS::Batch::JobQueue": _handlers("JobQueue", "create", "update", "delete"),
            "AWS::Batch::JobDefinition": _handlers("JobDefinition", "register", None, "deregister"),
        }
    )
    # What a change of makes a new resource: change sets report it, and updates follow.
    provisioners._REPLACING_PROPERTIES.update(
        {
            "AWS::Batch::ComputeEnvironment": ("ComputeEnvironmentName", "Type", "EksConfiguration"),
            "AWS::Batch::JobQueue": ("JobQueueName",),
            "AWS::Batch::JobDefinition": ("JobDefinitionName",),
        }
    )


def _handlers(kind: str, to_create: str, to_update: str | None, to_delete: str) -> dict[str, Any]:
    """Handlers of a type; the verbs are those of the API's calls. None: a change makes a new revision."""
    field = kind[:1].lower() + kind[1:]

    def provisioned(verb: str, request: Record) -> _Provisioned:
        arn = str(_call(f"{verb}{kind}", request)[f"{field}Arn"])
        return arn, {f"{kind}Arn": arn}

    def create(logical_id: str, props: Record, stack: str) -> _Provisioned:
        name = props.get(f"{kind}Name") or provisioners._physical_name(stack, logical_id)
        return provisioned(to_create, {**camel_case(props), f"{field}Name": name})

    def update(physical_id: str, _old: Record, new: Record, _stack: str) -> _Provisioned:
        return provisioned(str(to_update), {**camel_case(new), field: physical_id})

    def revise(physical_id: str, old: Record, new: Record, stack: str, logical_id: str) -> _Provisioned:
        """Create a new revision, and delete the old one when the stack's update is through."""
        name = physical_id.rpartition("/")[2].partition(":")[0]
        created = create(logical_id, {**new, f"{kind}Name": name}, stack)
        provisioners._delete_predecessor(delete, physical_id, old)
        return created

    def delete(physical_id: str, _props: Record) -> None:
        _call(f"{to_delete}{kind}", {field: physical_id})

    if to_update is None:
        return {"create": create, "update": revise, "update_with_logical_id": True, "delete": delete}
    return {"create": create, "update": update, "delete": delete}


def camel_case(value: Any) -> Any:
    """A template's properties as the API spells them, with a small first letter, all the way down."""
    if isinstance(value, list):
        return [camel_case(entry) for entry in value]
    if isinstance(value, dict):
        return {
            key[:1].lower() + key[1:]: entry if key in _VERBATIM else camel_case(entry)
            for key, entry in value.items()
        }
    return value


def _call(name: str, request: Record) -> Record:
    """The answer of Batch's API to a call. Raises ValueError: it fails."""
    status, _headers, body = stub._DISPATCH[f"/v1/{name.lower()}"](request)
    answer: Record = json.loads(body)
    if status != 200:  # noqa: PLR2004
        raise ValueError(answer.get("message") or answer.get("Message") or str(answer))
    return answer
