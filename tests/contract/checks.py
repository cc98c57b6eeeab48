"""Runs a case in an environment and checks the result."""

from __future__ import annotations

import re

from botocore.exceptions import ClientError

from tests.contract.case import Case, Text
from tests.contract.environments import Deployed, Environment


def check_case(case: Case, place: Environment, deployed: Deployed) -> None:
    """Assert that the case has the expected result in this environment."""
    expected = case.expected_in(place.name)
    deployed.put_inputs(case)
    outcome = place.run(case.image, case.event_for(deployed.bucket))
    if expected.fails is None:
        assert not outcome.error, outcome
    else:
        assert re.search(expected.fails, outcome.error, re.DOTALL), outcome
    if expected.says is not None:
        _check(expected.says, outcome.output)
    for path, content in expected.files.items():
        assert _uploaded(deployed, f"out/{path}") == content, path


def _check(wanted: Text, found: str) -> None:
    if isinstance(wanted, str):
        assert found == wanted
    else:
        assert wanted.fullmatch(found), found


def _uploaded(deployed: Deployed, key: str) -> bytes | None:
    s3 = deployed.s3
    try:
        content: bytes = s3.get_object(Bucket=deployed.bucket, Key=key)["Body"].read()
    except ClientError:
        return None
    s3.delete_object(Bucket=deployed.bucket, Key=key)
    return content
