"""`AWS::EC2::SecurityGroupIngress`, with which a security group can name itself as a source."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from ministack.services import ec2
from ministack.services.cloudformation import provisioners

_TYPE = "AWS::EC2::SecurityGroupIngress"


def install() -> None:
    """Add the type to the emulator's CloudFormation. A changed rule becomes a new one, as on AWS."""
    provisioners._RESOURCE_HANDLERS[_TYPE] = {"create": _create, "delete": _delete}


def _create(_logical_id: str, props: dict[str, Any], _stack: str) -> tuple[str, dict[str, str]]:
    group = ec2._security_groups.get(props.get("GroupId"))
    if group is None:
        raise ValueError(f"The security group '{props.get('GroupId')}' does not exist")
    # A new list: snapshots compare the group with its state before.
    group["IpPermissions"] = [*group["IpPermissions"], *provisioners._ec2_sg_permissions([props])]
    rule = f"sgr-{uuid4().hex[:17]}"
    return rule, {"Id": rule}


def _delete(_physical_id: str, props: dict[str, Any]) -> None:
    group = ec2._security_groups.get(props.get("GroupId"))
    if group is not None:
        (permission,) = provisioners._ec2_sg_permissions([props])
        group["IpPermissions"] = [one for one in group["IpPermissions"] if one != permission]
