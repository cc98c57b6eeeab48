"""Events that are recognized only to be rejected: otherwise, they would run the container without an input.

Sources of the event structures: SCAR's supervisor (grycap/faas-supervisor, `faassupervisor/events`) and the
Lambda developer guide (https://docs.aws.amazon.com/lambda/latest/dg/lambda-services.html).
"""

from __future__ import annotations

from typing import Any

_SERVICES = {
    "alarmArn": "CloudWatch alarms",
    "awslogs": "CloudWatch Logs",
    "deliveryStreamArn": "Amazon Data Firehose",
    "getObjectContext": "S3 Object Lambda",
    "invocationSchemaVersion": "S3 Batch Operations",
    "invokingEvent": "AWS Config",
    "methodArn": "API Gateway authorizers",
    "routeArn": "API Gateway authorizers",
    "triggerSource": "Amazon Cognito",
}
"""Members that only the events of one service have."""


def source_of(event: object) -> str | None:
    """The service whose event this is, if its events cannot run a function; None: any other JSON value."""
    if isinstance(event, list):
        return "EventBridge Pipes" if event and all(map(_is_record, event)) else None
    if not isinstance(event, dict):
        return None
    if "subscription" in event and isinstance(event.get("event"), dict):
        return "dCache"
    if "event_type" in event and isinstance(event.get("payload"), dict) and "scope" in event["payload"]:
        return "Rucio"
    if "Records" not in event and isinstance(event.get("eventSource"), str):
        return repr(event["eventSource"])  # aws:kafka, aws:mq, aws:docdb and others
    return next((name for member, name in _SERVICES.items() if member in event), None)


def is_other_request(event: object) -> bool:
    """A request of a WebSocket API or of VPC Lattice. Proxy requests must have been ruled out."""
    return isinstance(event, dict) and ("requestContext" in event or "httpMethod" in event)


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and "eventSource" in value
