"""`AWS::SecretsManager::Secret`: `Ref` returns the secret's ARN, as on AWS and in policies, not its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.services import secretsmanager
from ministack.services.cloudformation import provisioners

Made = tuple[str, dict[str, Any]]


def install() -> None:
    """Put ourselves in front of what ministack does."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
    create, update, delete = handlers["create"], handlers["update"], handlers["delete"]

    def create_secret(*wish: Any) -> Made:
        return _by_arn(create(*wish))

    def update_secret(physical_id: str, *wish: Any, **more: Any) -> Made:
        return _by_arn(update(_name(physical_id), *wish, **more))

    def delete_secret(physical_id: str, *wish: Any) -> None:
        delete(_name(physical_id), *wish)

    replaced: dict[str, Callable[..., Any]] = {
        "create": create_secret,
        "update": update_secret,
        "delete": delete_secret,
    }
    handlers.update(replaced)


def _by_arn(made: Made) -> Made:
    _name_of_it, attributes = made
    return attributes["Arn"], attributes


def _name(physical_id: str) -> str:
    """A secret's name by its ARN. (Stacks of before have the name.)"""
    name, _secret = secretsmanager._resolve(physical_id)
    return name or physical_id
