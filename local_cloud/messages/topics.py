"""SNS topics of other accounts, and filters on the body of a message, for S3 notifications.

Public data sets publish the notifications of their buckets on topics with public subscriptions. ministack
looks for such a topic in the stack's own account and region, looks for the function to deliver to in the
topic's, and compares a filter only with single objects, while a notification is a list of `Records`. (AWS
compares each: "Subscription filter policy scope" in the guide of Amazon SNS.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import sns
from ministack.services.cloudformation import provisioners

from local_cloud.patches import Original, replaces

_REFUSED = 400
_REGION_OF_ARN = 3


def install() -> None:
    """Take the place of what ministack does there."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::SNS::Subscription"]
    create = handlers["create"]

    def create_subscription(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        if sns._topics.get(props.get("TopicArn", "")):
            return create(logical_id, props, stack_name)
        return subscribe(props)

    handlers.update(create=create_subscription, delete=delete_subscription)
    sns._body_lookup = lambda body: Members([body])

    @replaces(sns, "_deliver_to_lambda")
    def deliver_in_the_functions_account(deliver: Original, endpoint: str, *message: Any) -> None:
        _arn, _partition, _lambda, region, account, *_name = endpoint.split(":")
        with request_scope(account, region):
            deliver(endpoint, *message)


class Members:
    """The members of one or several JSON objects, looked up for a filter policy by its keys."""

    def __init__(self, objects: Sequence[dict[str, Any]]) -> None:
        self._objects = objects

    def __call__(self, key: str) -> tuple[bool, list[Any], bool]:
        """Whether a member exists, all of its values, and whether there is any member."""
        found = [content[key] for content in self._objects if content.get(key) is not None]
        return bool(found), _flat(found), any(self._objects)

    def child(self, key: str) -> Members | None:
        """The objects in a member, which is an object or a list."""
        _present, values, _any = self(key)
        objects = [value for value in values if isinstance(value, dict)]
        return Members(objects) if objects else None


def subscribe(props: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Subscribe to a topic of another account, if its policy permits. Returns physical id and attributes of
    the resource.

    Raises:
        ValueError: the topic does not exist, or denies the subscription.
    """
    parameters = {key: str(props.get(key, "")) for key in ("TopicArn", "Protocol", "Endpoint")}
    for number, (name, value) in enumerate(provisioners._sns_sub_attributes(props).items(), start=1):
        parameters[f"Attributes.entry.{number}.key"] = name
        parameters[f"Attributes.entry.{number}.value"] = value
    with request_scope(get_account_id(), props.get("Region") or get_region()):
        status, _headers, body = sns._subscribe(parameters)
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    if status >= _REFUSED:
        message = re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
        raise ValueError(message[1] if message else text)
    (arn,) = re.findall(r"<SubscriptionArn>(.*?)</SubscriptionArn>", text)
    return arn, {"Arn": arn}


def delete_subscription(physical_id: str, _props: dict[str, Any]) -> None:
    """End a subscription, whosever the topic is."""
    with request_scope(get_account_id(), physical_id.split(":")[_REGION_OF_ARN]):
        sns._unsubscribe({"SubscriptionArn": physical_id})


def _flat(values: Sequence[Any]) -> list[Any]:
    return [one for value in values for one in (value if isinstance(value, list) else [value])]
