"""Who a request is from: credentials of roles that nobody can make, and keys that are the verified ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ministack.core.iam_evaluator import AuthError

from local_cloud.access import callers
from local_cloud.access.callers import Caller
from local_cloud.access.credentials import Credentials

CONFIG = {
    "Role": "arn:aws:iam::000000000000:role/f",
    "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
    "FunctionName": "f",
}


def sessions(secret: str) -> callers._RoleSessions:
    return callers._RoleSessions(Credentials("AKIA", secret))


@pytest.fixture
def caller() -> Iterator[Caller]:
    """Who has signed the request that is being served."""
    caller = Caller()
    token = callers.current.set(caller)
    yield caller
    callers.current.reset(token)


def test_credentials_of_a_role_come_from_the_clouds_secret_and_stay_the_same() -> None:
    one, other = sessions("one").of_function(CONFIG), sessions("other").of_function(CONFIG)
    assert all(one[name] != other[name] for name in one)
    assert sessions("one").of_function(CONFIG) == one


def test_a_function_has_other_credentials_in_another_role() -> None:
    one = sessions("one").of_function(CONFIG)
    other = sessions("one").of_function({**CONFIG, "Role": "arn:aws:iam::000000000000:role/g"})
    assert all(one[name] != other[name] for name in one)


def test_the_key_in_a_request_is_the_one_that_signed_it(caller: Caller) -> None:
    mine = sessions("one").of_function(CONFIG)["AWS_ACCESS_KEY_ID"]
    theirs = sessions("other").of_function(CONFIG)["AWS_ACCESS_KEY_ID"]
    caller.access_key_id = mine
    assert not isinstance(callers._authenticate(mine, callers.ACCOUNT), AuthError)
    for key in (theirs, ""):
        assert isinstance(callers._authenticate(key, callers.ACCOUNT), AuthError)
