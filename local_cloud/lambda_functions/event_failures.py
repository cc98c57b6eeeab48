"""What happens to an asynchronous event after its last attempt.

A failure destination receives the invocation record ("Retaining records of asynchronous invocations" in the
guide of AWS Lambda). A dead-letter queue or topic receives the event, with the reason in three attributes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ministack.core.responses import new_uuid
from ministack.services import eventbridge, lambda_svc, sns, sqs

RETRIES_EXHAUSTED = "RetriesExhausted"
EVENT_AGE_EXCEEDED = "EventAgeExceeded"
_log = logging.getLogger("lambda-events")


@dataclass(frozen=True)
class Failure:
    """An event without attempts left."""

    request_id: str
    function_arn: str
    event: Any
    attempts: int
    condition: str
    result: dict[str, Any]
    """Of the last attempt, as returned by the emulator."""

    def record(self) -> dict[str, Any]:
        """The invocation record."""
        qualified = self.function_arn.count(":") > 6  # noqa: PLR2004 (arn:…:function:NAME:QUALIFIER)
        return {
            "version": "1.0",
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "requestContext": {
                "requestId": self.request_id,
                "functionArn": self.function_arn if qualified else f"{self.function_arn}:$LATEST",
                "condition": self.condition,
                "approximateInvokeCount": self.attempts,
            },
            "requestPayload": self.event,
            "responseContext": {
                "statusCode": 200,
                "executedVersion": self.function_arn.split(":")[7] if qualified else "$LATEST",
                "functionError": self.result.get("function_error") or "Unhandled",
            },
            "responsePayload": self.result.get("body"),
        }

    def attributes(self) -> dict[str, Any]:
        """The attributes of the event in a dead-letter queue."""
        body = self.result.get("body")
        message = str(body.get("errorMessage", "")) if isinstance(body, dict) else str(body)
        told = {"RequestID": self.request_id, "ErrorCode": "200", "ErrorMessage": message[:1024]}
        return {
            name: {"DataType": "Number" if name == "ErrorCode" else "String", "StringValue": value}
            for name, value in told.items()
            if value
        }


def send(
    failure: Failure,
    settings: dict[str, Any],
    config: dict[str, Any],
    invoke: Callable[[dict[str, Any], Any], None],
) -> None:
    """Send it to the destinations in the function's event invoke configuration and its dead-letter setting.

    A missing destination is reported in the cloud's log. `invoke` queues an event for a function.
    """
    destination = ((settings.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination")
    dead_letters = (config.get("DeadLetterConfig") or {}).get("TargetArn")
    try:
        if destination:
            _deliver(str(destination), json.dumps(failure.record()), {}, failure, invoke)
        if dead_letters:
            _deliver(str(dead_letters), json.dumps(failure.event), failure.attributes(), failure, invoke)
    except Exception:
        _log.exception("failed event of %s was not kept", failure.function_arn)


def _deliver(
    target: str,
    body: str,
    attributes: dict[str, Any],
    failure: Failure,
    invoke: Callable[[dict[str, Any], Any], None],
) -> None:
    service = target.split(":")[2] if target.count(":") >= 5 else ""  # noqa: PLR2004 (an ARN)
    if service == "sqs" and (queue := sqs._queue_by_arn(target)) is not None:
        message = {"QueueUrl": queue["url"], "MessageBody": body, "MessageAttributes": attributes}
        sqs._act_send_message(message, queue["url"])
    elif service == "sns" and target in sns._topics:
        sns._fanout(target, new_uuid(), body, "", "", attributes)
    elif service == "events":
        entry = {
            "Source": "lambda",
            "DetailType": "Lambda Function Invocation Result - Failure",
            "Resources": [failure.function_arn],
            "Detail": body,
            "EventBusName": target.rpartition("/")[2],
        }
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
    elif service == "lambda" and (found := lambda_svc._get_func_record_for_ref(target))[0]:
        invoke(lambda_svc._execution_record_for_config(found[0], found[1]), json.loads(body))
    else:
        _log.warning("failed event of %s was not kept: %s does not exist", failure.function_arn, target)
