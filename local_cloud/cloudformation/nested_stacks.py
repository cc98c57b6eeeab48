"""Nested stacks: `AWS::CloudFormation::Stack`.

ministack deploys them with a shorter copy of its code for stacks. What a failed nested stack has created is
not deleted, `DeletionPolicy` is ignored, and resources that fail to be deleted are forgotten. Here, the code
for stacks deploys nested stacks, rolls them back, and deletes them.

As on AWS, what an update removes from a nested stack is deleted when the root stack has been updated, because
a failure elsewhere rolls back to it. Nested stacks are deployed one after the other. (AWS: in parallel.)
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from ministack.core.concurrency import run_reentrant
from ministack.core.responses import get_account_id, get_region, new_uuid, now_iso
from ministack.services.cloudformation import (
    _stack_events,
    _stacks,
    changesets,
    engine,
    handlers,
    helpers,
    provisioners,
    stacks,
)

from local_cloud.patches import Original, replaces

_TYPE = "AWS::CloudFormation::Stack"
_Record = dict[str, Any]
_KEPT = (
    *("_resources", "_template", "_template_body", "_resolved_params", "_conditions"),
    *("Parameters", "Tags", "Outputs"),
)
"""Of a stack that is updated, for a rollback."""
_log = logging.getLogger("nested-stacks")


@dataclass
class _Operation:
    """What nested stacks have removed in one operation of a root stack, and is not deleted yet."""

    removed: dict[str, dict[str, _Record]] = field(default_factory=dict)
    """Records of resources, by stack and logical id."""
    deletions: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    """By stack: what deletes a resource."""


_operation: contextvars.ContextVar[_Operation | None] = contextvars.ContextVar("operation", default=None)
_deleting_later: contextvars.ContextVar[str] = contextvars.ContextVar("deleting_later", default="")
"""The nested stack that is being updated."""
_rolling_back: contextvars.ContextVar[bool] = contextvars.ContextVar("rolling_back", default=False)


def install() -> None:
    """Take the place of ministack's nested stacks."""
    _delete_removed_at_the_end()
    provisioners._RESOURCE_HANDLERS[_TYPE] = {
        "create": _create,
        "update": _update,
        "update_with_logical_id": True,
        "delete": _delete,
    }
    for action in ("DescribeStacks", "ListStacks"):
        handlers._ACTION_HANDLERS[action] = _with_parents(handlers._ACTION_HANDLERS[action])


def _delete_removed_at_the_end() -> None:
    deploy, roll_back = stacks._deploy_stack_async, stacks._roll_back_operation

    async def deploy_root(stack_name: str, stack_id: str, *arguments: Any, **options: Any) -> None:
        operation = _Operation()
        token = _operation.set(operation)
        try:
            await deploy(stack_name, stack_id, *arguments, **options)
        finally:
            _operation.reset(token)
        if operation.deletions and _stacks[stack_name]["StackStatus"] == "UPDATE_COMPLETE":
            _set_status(stack_name, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
            for child, what in operation.deletions:
                await run_reentrant(_delete_now, child, what)
            _set_status(stack_name, "UPDATE_COMPLETE")

    async def roll_back_now(*arguments: Any, **options: Any) -> None:
        token = _rolling_back.set(True)
        try:
            await roll_back(*arguments, **options)
        finally:
            _rolling_back.reset(token)

    stacks._roll_back_operation = roll_back_now
    handlers._deploy_stack_async = changesets._deploy_stack_async = deploy_root

    @replaces(stacks, "_delete_resource")
    def delete_resource(delete: Original, *arguments: Any) -> None:
        operation, child = _operation.get(), _deleting_later.get()
        if operation is not None and child and not _rolling_back.get():
            operation.deletions.append((child, arguments))
        else:
            delete(*arguments)


def _delete_now(child: str, arguments: tuple[Any, ...]) -> None:
    resource_type, physical_id, _props, _stack, logical_id = arguments
    try:
        provisioners._delete_resource(*arguments)
    except Exception as error:
        # As in the cleanup of a root stack: the update has succeeded all the same.
        _log.warning("%s of %s could not be deleted: %s", logical_id, child, error)
        told = (logical_id, resource_type, "DELETE_FAILED", str(error), physical_id)
        stacks._add_event(_stacks[child]["StackId"], child, *told)


def _create(logical_id: str, props: dict[str, Any], parent: str) -> tuple[str, dict[str, str]]:
    settings = _settings(props, parent)
    name = f"{parent}-{logical_id}-{new_uuid().replace('-', '')[:12].upper()}"
    identity = f"arn:aws:cloudformation:{get_region()}:{get_account_id()}:stack/{name}/{new_uuid()}"
    above = _stacks[parent]
    _stacks[name] = {
        "StackName": name,
        "StackId": identity,
        "ParentId": above["StackId"],
        "RootId": above.get("RootId") or above["StackId"],
        "StackStatusReason": "",
        "CreationTime": now_iso(),
        "DisableRollback": False,
        "_region": get_region(),
        "_resources": {},
        "Outputs": [],
        **settings,
    }
    _stack_events[identity] = []
    told = (logical_id, _TYPE, "CREATE_IN_PROGRESS", "Resource creation Initiated", identity)
    stacks._add_event(above["StackId"], parent, *told)
    if not _deploy(name):
        reason = _failed_resources(identity, "CREATE_FAILED")
        asyncio.run(stacks._delete_stack_async(name, identity))
        raise ValueError(f"Embedded stack {identity} was not successfully created: {reason}")
    return identity, _attributes(name)


def _update(
    physical_id: str, _old: dict[str, Any], props: dict[str, Any], parent: str, logical_id: str | None = None
) -> tuple[str, dict[str, str]]:
    name = provisioners._nested_stack_lookup_name(physical_id)
    settings = _settings(props, parent)
    child = _stacks[name]
    operation = _operation.get()
    if operation is not None and name in operation.removed:  # a rollback: it is in the stack again
        child["_resources"].update(operation.removed.pop(name))
        operation.deletions = [one for one in operation.deletions if one[0] != name]
    previous = {key: copy.deepcopy(child.get(key)) for key in _KEPT}
    child.update(settings)
    if not _deploy(name, previous):
        reason = _failed_resources(physical_id, "UPDATE_FAILED", "CREATE_FAILED")
        raise ValueError(f"Embedded stack {physical_id} was not successfully updated: {reason}")
    if operation is not None:
        gone = previous["_resources"].keys() - child["_resources"].keys()
        operation.removed[name] = {key: previous["_resources"][key] for key in gone}
    return physical_id, _attributes(name)


def _delete(physical_id: str, _props: dict[str, Any]) -> None:
    name = provisioners._nested_stack_lookup_name(physical_id)
    child = _stacks.get(name)
    if child is None or child["StackStatus"] == "DELETE_COMPLETE":
        return
    asyncio.run(stacks._delete_stack_async(name, child["StackId"]))
    if child["StackStatus"] != "DELETE_COMPLETE":
        reason = child.get("StackStatusReason", "")
        raise ValueError(f"Embedded stack {physical_id} was not successfully deleted: {reason}")


def _settings(props: dict[str, Any], parent: str) -> _Record:
    """The part of a stack's record that the properties determine.

    Raises:
        ValueError: the template or its parameters are invalid.
    """
    body, problem = helpers._resolve_template({"TemplateURL": [props.get("TemplateURL", "")]})
    if problem is not None:
        text = re.search(r"<Message>(.*?)</Message>", problem[2].decode(errors="replace"), re.DOTALL)
        raise ValueError(text[1] if text else f"Template not found at {props.get('TemplateURL')}")
    template = engine._parse_template(body)
    provisioners._check_nested_stack_capabilities(parent, template)
    given = props.get("Parameters") or {}
    if any(isinstance(value, list) for value in given.values()):
        raise ValueError(
            "Value of property Parameters must be an object with String (or simple type) properties"
        )
    texts = [{"Key": key, "Value": "" if value is None else str(value)} for key, value in given.items()]
    parameters = engine._resolve_parameters(template, texts)
    conditions = engine._evaluate_conditions(template, parameters)
    engine.validate_template_support(template, conditions, params=parameters)
    return {
        "LastUpdatedTime": now_iso(),
        "Description": template.get("Description", ""),
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value["Value"], "NoEcho": value["NoEcho"]}
            for key, value in parameters.items()
        ],
        "Tags": [
            {"Key": key, "Value": value}
            for key, value in provisioners._tag_map(props.get("Tags")).items()
            if not key.startswith("aws:")
        ],
        "Capabilities": provisioners._inherited_capabilities(parent),
        "_template": template,
        "_template_body": body,
        "_resolved_params": parameters,
        "_conditions": conditions,
    }


def _deploy(name: str, previous: _Record | None = None) -> bool:
    """Create or update a nested stack, and roll back if that fails. Whether it succeeded."""
    stack = _stacks[name]
    action = "CREATE" if previous is None else "UPDATE"
    _set_status(name, f"{action}_IN_PROGRESS")
    token = _deleting_later.set(name if previous is not None else "")
    try:
        asyncio.run(
            stacks._deploy_stack_async(
                name,
                stack["StackId"],
                stack["_template"],
                stack["_resolved_params"],
                False,  # no disabled rollback
                stack["Tags"],
                is_update=previous is not None,
                previous_stack=previous,
            )
        )
    finally:
        _deleting_later.reset(token)
    return bool(stack["StackStatus"] == f"{action}_COMPLETE")


def _set_status(name: str, status: str) -> None:
    stack = _stacks[name]
    stack["StackStatus"] = status
    stacks._add_event(stack["StackId"], name, name, _TYPE, status, physical_id=stack["StackId"])


def _attributes(name: str) -> dict[str, str]:
    return {f"Outputs.{one['OutputKey']}": one["OutputValue"] for one in _stacks[name]["Outputs"]}


def _failed_resources(identity: str, *statuses: str) -> str:
    """Which resources of a stack failed in its last operation, in CloudFormation's words."""
    failed: list[str] = []
    for event in reversed(_stack_events[identity]):
        if event["PhysicalResourceId"] == identity and event["ResourceStatus"].endswith("E_IN_PROGRESS"):
            if "ROLLBACK" not in event["ResourceStatus"]:
                break
        elif event["ResourceStatus"] in statuses:
            failed.append(f"{event['LogicalResourceId']} ({event['ResourceStatusReason']})")
    verb = statuses[0].partition("_")[0].lower()
    return f"The following resource(s) failed to {verb}: [{', '.join(reversed(failed))}]."


def _with_parents(answer: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """Add the parent and the root to nested stacks in an answer, which ministack leaves out."""

    def answer_with_parents(params: dict[str, Any]) -> Any:
        status, headers, body = answer(params)
        above = {
            escape(stack["StackId"]): f"<ParentId>{escape(stack['ParentId'])}</ParentId>"
            f"<RootId>{escape(stack['RootId'])}</RootId>"
            for stack in _stacks.values()
            if stack.get("ParentId")
        }
        text = re.sub(
            r"<StackId>([^<]*)</StackId>",
            lambda found: found[0] + above.get(found[1], ""),
            body.decode() if isinstance(body, bytes) else body,
        )
        return status, headers, text.encode()

    return answer_with_parents
