"""A destination of asynchronous events needs a permission of the function's role, as on AWS.

AWS checks it when the destination is set: a deployment with a role that lacks it fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import iam, lambda_svc

from local_cloud.iam.policies import role_allows
from local_cloud.patches import Original, replaces

_ACTIONS = {"sqs": "SendMessage", "sns": "Publish", "lambda": "InvokeFunction", "events": "PutEvents"}
"""What Lambda does to a destination, by service."""


def install() -> None:
    """Have the emulator reject destinations that the function's role may not use."""

    @replaces(lambda_svc, "_put_event_invoke_config")
    def put(put_config: Original, name: str, qualifier: str | None, data: dict[str, Any]) -> Any:
        for action, destination in _rejected(name, data):
            return error_response_json(
                "InvalidParameterValueException",
                f"The function's execution role does not have permissions to call {action} on {destination}",
                400,
            )
        return put_config(name, qualifier, data)


def _rejected(function_name: str, data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Destinations without permission, and the missing action. Roles that do not exist here may do
    everything."""
    config = lambda_svc._functions.get(function_name, {}).get("config", {})
    role = str(config.get("Role", ""))
    if iam._roles.get(role.rpartition("/")[2]) is None:
        return
    for kind in ("OnSuccess", "OnFailure"):
        destination = str(((data.get("DestinationConfig") or {}).get(kind) or {}).get("Destination") or "")
        service = destination.split(":")[2] if destination.startswith("arn:") else ""
        action = _ACTIONS.get(service)
        if action and not role_allows(role, f"{service}:{action}", destination):
            yield action, destination
