"""Custom resource `Custom::ScarPreheat`: invoke a function once, so that its image is ready for the first
event.

Asynchronously: a deployment does not wait for an image to be downloaded.
"""

from typing import Any

import boto3

from scar_constructs.handlers.answering import Wish, respond

client = boto3.client("lambda")


def handler(event: Wish, context: Any) -> None:
    """See `respond`."""
    respond(event, "preheating", event["ResourceProperties"]["FunctionName"], invoke, leave)


def invoke(wish: Wish) -> None:
    """Let the function prepare everything."""
    client.invoke(FunctionName=wish["FunctionName"], InvocationType="Event", Payload=b'{"preheat": true}')


def leave(wish: Wish, name: str) -> None:
    """There is nothing to remove."""
