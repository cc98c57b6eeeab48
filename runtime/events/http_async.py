"""Long HTTP requests: API Gateway waits for an answer for at most 29 seconds.

A request with the header `X-Amz-Invocation-Type: Event` is asynchronous: after checking it, the function
invokes itself asynchronously with the same event (marked, so that it does so only once), and answers 202 with
the request id of that run in the log. If that run fails, it is retried and kept in the failure queue like any
other event. (In `batch` mode, every request is submitted as a job at once.)

The run of any other request is stopped in time to answer 504, with the advice to send that header; in
`lambda-batch` mode Batch takes over instead.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from containers import aws
from containers.errors import ErrorKind, ExplainedError
from runtime.events import http_events
from runtime.events.invocation import event_json

MARK = "scarHandedOn"
"""A member of the event itself, which no request can set."""
GATEWAY_WAITS_S = 29.0
"""https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html"""
TO_ANSWER_S = 2.0
"""Reserved for ending the container and answering."""


def is_answered(event: object) -> bool:
    """Whether the return value of the function becomes an HTTP answer."""
    return http_events.is_http(event) and not event.get(MARK)


def is_to_be_handed_on(event: object) -> bool:
    """Whether the request is asynchronous, and must still be passed on to an asynchronous invocation."""
    return http_events.is_http(event) and is_answered(event) and not http_events.is_awaited(event)


def hand_on(event: Mapping[str, Any], function: str) -> str:
    """Invoke the function with the event; return the request id of that run. Raises `ExplainedError`."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = aws.client("lambda").invoke(
            FunctionName=function,
            InvocationType="Event",
            Payload=event_json({**event, MARK: True}).encode(),
        )
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 413:  # noqa: PLR2004
            raise ExplainedError(
                "The request is too large for an asynchronous invocation",
                advice="Upload large data to an input folder instead.",
                kind=ErrorKind.EVENT_TOO_LARGE,
            ) from None
        raise _refused(error) from None
    except BotoCoreError as error:
        raise _refused(error) from None
    return str(answer["ResponseMetadata"].get("RequestId", "unknown"))


def seconds_left(event: object) -> float | None:
    """How long the container may run before API Gateway times out; None: up to the function's timeout.

    Raises `ExplainedError` of kind `BadRequest` for a request with an invalid time."""
    if not is_answered(event) or not http_events.is_http(event) or not http_events.is_awaited(event):
        return None
    context = event["requestContext"]
    if "apiId" not in context or ".lambda-url." in str(context.get("domainName")):
        return None  # a function URL has no limit other than the function's
    began_s = http_events.request_time_s(event)
    waited = 0.0 if began_s is None else time.time() - began_s
    if not 0 <= waited <= GATEWAY_WAITS_S:
        waited = 0.0  # the clocks differ
    return max(GATEWAY_WAITS_S - TO_ANSWER_S - waited, 0.1)


def too_slow() -> ExplainedError:
    """Replaces the error that explains the timeout of the function itself."""
    return ExplainedError(
        f"The answer was not ready within API Gateway's limit of {GATEWAY_WAITS_S:g} seconds, and the run "
        "was stopped",
        advice="Send the request again with the header X-Amz-Invocation-Type: Event. It is then answered at "
        "once, and the outputs appear in the function's output folders.",
        kind=ErrorKind.TIMED_OUT,
    )


def _refused(error: Exception) -> ExplainedError:
    return ExplainedError(
        f"The function could not invoke itself: {error}",
        advice="Its role needs lambda:InvokeFunction on the function.",
        kind=ErrorKind.HAND_ON_FAILED,
    )
