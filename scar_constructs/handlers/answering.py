"""Answers CloudFormation. `HandlerFunction` puts this text before the program of each custom resource."""

import json
import urllib.request
from collections.abc import Callable
from typing import Any

Wish = dict[str, Any]


def respond(
    event: Wish, what: str, name: str, make: Callable[[Wish], Any], remove: Callable[[Wish, str], None]
) -> None:
    """Do the work, and answer in any case: without an answer, CloudFormation waits for an hour."""
    wish = event["ResourceProperties"]
    answer = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
    answer["PhysicalResourceId"] = event.get("PhysicalResourceId") or name
    try:
        if event["RequestType"] == "Delete":
            remove(wish, answer["PhysicalResourceId"])
        else:
            answer["PhysicalResourceId"] = name
            answer["Data"] = make(wish) or {}
        answer["Status"] = "SUCCESS"
    except Exception as problem:
        answer.update(Status="FAILED", Reason=f"{what} {name}: {problem}"[:1000])
    print(json.dumps(answer))
    request = urllib.request.Request(  # noqa: S310 (CloudFormation's own address)
        event["ResponseURL"], json.dumps(answer).encode(), {"Content-Type": ""}, method="PUT"
    )
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
