"""Credentials that a script gets from the runner."""

from __future__ import annotations

from containers.aws import credentials

KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"}
PLACE = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}


def test_on_lambda_they_are_those_of_the_environment() -> None:
    assert credentials({**KEYS, "AWS_REGION": "eu-west-1", "OTHER": "x"}) == {**KEYS, **PLACE}


def test_a_job_gets_the_address_of_credentials_that_are_renewed() -> None:
    address = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/x"}
    assert credentials({**address, "AWS_REGION": "eu-west-1"}) == {**address, **PLACE}
    full = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/x",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "t",
    }
    assert credentials(full) == full


def test_keys_that_are_given_win_over_the_address() -> None:
    assert credentials({**KEYS, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}) == KEYS
