"""`AWS::DynamoDB::Table` in the emulator's CloudFormation: time to live, deletion protection, and tables that
exist and are not replaced. ministack ignores all of them.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.services import dynamodb
from ministack.services.cloudformation import provisioners

Made = tuple[str, dict[str, Any]]
_REFUSED = 400


def install() -> None:
    """Put ourselves in front of what ministack does."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::Table"]
    create, update = handlers["create"], handlers["update"]

    def create_table(logical_id: str, props: dict[str, Any], stack: str) -> Made:
        name = props.get("TableName")
        if name and name in dynamodb._tables:
            raise ValueError(
                f"Resource of type 'AWS::DynamoDB::Table' with identifier '{name}' already exists."
            )
        made: Made = create(logical_id, props, stack)
        _set_time_to_live(made[0], props)
        return made

    def update_table(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], *more: Any, **named: Any
    ) -> Made:
        made: Made = update(physical_id, old, new, *more, **named)
        _set_time_to_live(made[0], new)
        return made

    def delete_table(physical_id: str, _props: dict[str, Any]) -> None:
        if physical_id not in dynamodb._tables:
            return
        status, _headers, body = dynamodb._delete_table({"TableName": physical_id})
        if status >= _REFUSED:
            raise ValueError(json.loads(body)["message"])

    handlers.update(create=create_table, update=update_table, delete=delete_table)


def _set_time_to_live(name: str, props: dict[str, Any]) -> None:
    setting = props.get("TimeToLiveSpecification")
    if not setting:
        dynamodb._ttl_settings.pop(name, None)
        return
    enabled = str(setting.get("Enabled", True)).lower() == "true"
    dynamodb._update_ttl({"TableName": name, "TimeToLiveSpecification": {**setting, "Enabled": enabled}})
