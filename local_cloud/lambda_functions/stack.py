"""Properties of `AWS::Lambda::Function` that the CloudFormation of ministack ignores: `RecursiveLoop` and
`ReservedConcurrentExecutions`.
"""

from __future__ import annotations

from typing import Any

from ministack.services import lambda_svc
from ministack.services.cloudformation import provisioners

Made = tuple[str, dict[str, Any]]


def install() -> None:
    """Put ourselves behind what `image_functions.py` and ministack do."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    create, update = handlers["create"], handlers["update"]

    def create_function(logical_id: str, props: dict[str, Any], *more: Any) -> Made:
        return _configured(create(logical_id, props, *more), props)

    def update_function(physical_id: str, old: dict[str, Any], new: dict[str, Any], *more: Any) -> Made:
        return _configured(update(physical_id, old, new, *more), new)

    handlers.update(create=create_function, update=update_function)


def _configured(made: Made, props: dict[str, Any]) -> Made:
    function = lambda_svc._functions[made[0]]
    reserved = props.get("ReservedConcurrentExecutions")
    function["concurrency"] = None if reserved is None else int(reserved)
    function["recursive_loop"] = props.get("RecursiveLoop", "Terminate")
    return made
