"""Our signatures are botocore's, byte for byte."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from scar_cli.aws.signing import Signer

BODIES = [b"", b'{"Records": []}', "ü ñ".encode() * 1000]


@pytest.mark.parametrize("body", BODIES, ids=["empty", "short", "long"])
@pytest.mark.parametrize("token", [None, "FwoGZXIvYXdzEBY+/=="])
@pytest.mark.parametrize("path", ["/2015-03-31/functions/a-b_c/invocations", "/with space/%C3%BC/~x"])
def test_a_signature_is_the_same_as_botocores(path: str, token: str | None, body: bytes) -> None:
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    given = {"Host": "lambda.eu-west-1.amazonaws.com:8443", "X-Amz-Invocation-Type": "Event"}
    theirs = AWSRequest("POST", f"https://lambda.eu-west-1.amazonaws.com:8443{path}", given, data=body)
    SigV4Auth(credentials, "lambda", "eu-west-1").add_auth(theirs)
    moment = datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = Signer(credentials, "eu-west-1", "lambda").sign("POST", path, given, body, moment)
    assert ours == dict(theirs.headers)


def test_another_day_and_other_credentials_get_another_key() -> None:
    credentials = Credentials("AKIDEXAMPLE", "first")
    signer = Signer(credentials, "eu-west-1", "lambda")
    days = [datetime(2026, 11, day, 23, 59, 59, tzinfo=UTC) for day in (21, 22)]

    def signature(moment: datetime) -> str:
        return signer.sign("POST", "/", {"Host": "h"}, b"", moment)["Authorization"].rpartition("=")[2]

    before = [signature(day) for day in days]
    credentials.secret_key = "second"
    assert len({*before, *(signature(day) for day in days)}) == 4
    assert (
        signature(days[0])
        == Signer(credentials, "eu-west-1", "lambda")
        .sign("POST", "/", {"Host": "h"}, b"", days[0])["Authorization"]
        .rpartition("=")[2]
    )
