"""Who a request is from: credentials of roles that nobody can make, and keys that are the verified ones."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from ministack.core.iam_evaluator import AuthError

from local_cloud.access import callers, job_credentials
from local_cloud.access.callers import Caller
from local_cloud.access.credentials import Credentials
from local_cloud.access.signatures import SignatureError

CONFIG = {
    "Role": "arn:aws:iam::000000000000:role/f",
    "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
    "FunctionName": "f",
}


def sessions(secret: str) -> callers.RoleSessions:
    return callers.RoleSessions(Credentials("AKIA", secret))


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


def test_a_jobs_credentials_are_renewed_every_hour_and_valid_for_one_more() -> None:
    role, now = CONFIG["Role"], 10 * 3600.0
    first = sessions("one").of_job(role, "job:1", now)
    assert sessions("one").of_job(role, "job:1", now + 3599) == first
    assert (first["RoleArn"], first["Expiration"]) == (role, "1970-01-01T12:00:00Z")
    second = sessions("one").of_job(role, "job:1", now + 3600)
    other = sessions("one").of_job(role, "job:2", now)
    for name in ("AccessKeyId", "SecretAccessKey", "Token"):
        assert len({given[name] for given in (first, second, other)}) == 3


def test_a_jobs_credentials_are_rejected_when_they_have_expired() -> None:
    old = sessions("one").of_job(CONFIG["Role"], "job", time.time() - 3 * 3600)
    now = sessions("one").of_job(CONFIG["Role"], "job", time.time())
    assert callers.secret_of(now["AccessKeyId"], now["Token"]) == now["SecretAccessKey"]
    with pytest.raises(SignatureError):
        callers.secret_of(old["AccessKeyId"], old["Token"])


def test_the_path_of_a_jobs_credentials_is_valid_while_it_runs() -> None:
    path = job_credentials.offer(lambda: {"Token": "t"})
    assert json.loads(job_credentials.answer("GET", path) or b"") == {"Token": "t"}
    assert job_credentials.answer("POST", path) is None
    assert job_credentials.answer("GET", path + "x") is None
    job_credentials.withdraw(path)
    assert job_credentials.answer("GET", path) is None


def test_the_key_in_a_request_is_the_one_that_signed_it(caller: Caller) -> None:
    mine = sessions("one").of_function(CONFIG)["AWS_ACCESS_KEY_ID"]
    theirs = sessions("other").of_function(CONFIG)["AWS_ACCESS_KEY_ID"]
    caller.access_key_id = mine
    assert not isinstance(callers._authenticate(mine, callers.ACCOUNT), AuthError)
    for key in (theirs, ""):
        assert isinstance(callers._authenticate(key, callers.ACCOUNT), AuthError)
