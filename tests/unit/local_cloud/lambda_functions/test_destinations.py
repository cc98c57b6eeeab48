"""A destination of events that the function's role may not use is rejected."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from ministack.services import iam, lambda_svc

from local_cloud.lambda_functions import destinations

QUEUE = "arn:aws:sqs:us-east-1:000000000000:failed-f-0a1b2c3d"
PLACES = {
    QUEUE: "SendMessage",
    "arn:aws:sns:us-east-1:000000000000:told": "Publish",
    "arn:aws:lambda:us-east-1:000000000000:function:next": "InvokeFunction",
}


@pytest.fixture
def _cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lambda_svc, "_put_event_invoke_config", lambda_svc._put_event_invoke_config)
    destinations.install()
    config = {"FunctionName": "f", "Role": "arn:aws:iam::000000000000:role/given"}
    lambda_svc._functions["f"] = {"config": config}
    yield
    lambda_svc._functions.clear()
    iam._roles.clear()


def allow(action: str, resource: str) -> None:
    policy = {"Statement": {"Effect": "Allow", "Action": action, "Resource": resource}}
    iam._roles["given"] = {"InlinePolicies": {"own": json.dumps(policy)}, "AttachedPolicies": []}


def put(destination: str) -> tuple[int, str]:
    data = {"DestinationConfig": {"OnFailure": {"Destination": destination}}}
    status, _headers, body = lambda_svc._put_event_invoke_config("f", "$LATEST", data)
    return status, body.decode()


@pytest.mark.usefixtures("_cloud")
@pytest.mark.parametrize(("destination", "action"), PLACES.items())
def test_a_role_without_the_permission_is_rejected(destination: str, action: str) -> None:
    allow("s3:GetObject", "*")
    status, body = put(destination)
    assert status == 400
    assert "InvalidParameterValueException" in body
    assert f"does not have permissions to call {action} on {destination}" in body


@pytest.mark.usefixtures("_cloud")
def test_a_role_with_the_permission_is_accepted() -> None:
    allow("sqs:SendMessage", "arn:aws:sqs:us-east-1:000000000000:failed-f-*")
    assert put(QUEUE)[0] == 200


@pytest.mark.usefixtures("_cloud")
def test_a_role_that_does_not_exist_here_may_do_everything() -> None:
    assert put(QUEUE)[0] == 200
