"""Who is not the developer, and no role that was deployed, gets nothing from the embedded cloud.

A web page can send requests to it without asking anybody; so can every container. Each request here is sent
as such a stranger can send it, and then the cloud's own client looks for what came of it.
"""

from __future__ import annotations

import base64
import http.client
import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from local_cloud.cloud import Cloud
from tests.cloud.embedded import CloudUnderTest, any_role, zipped

pytestmark = pytest.mark.cloud

HELD = "held-by-strangers-test"
CREATE = "/2015-03-31/functions"
FUNCTION = {
    "FunctionName": "of-a-stranger",
    "Runtime": "python3.13",
    "Role": "arn:aws:iam::000000000000:role/any",
    "Handler": "index.handle",
    "Code": {"ZipFile": base64.b64encode(zipped(index__py="def handle(*_): pass")).decode()},
}


@dataclass
class Answer:
    """What a stranger got."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Door:
    """A cloud that holds something, and requests to it as they are."""

    cloud: CloudUnderTest

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send just this. Names of headers have `_` for `-`; `Host` may be given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.cloud.running.port, timeout=30)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_host="Host" in fields, skip_accept_encoding=True)
        for name, value in {**fields, **({"Content-Length": str(len(body))} if body else {})}.items():
            connection.putheader(name, value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        try:
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def functions(self) -> list[str]:
        return [found["FunctionName"] for found in self.cloud.client("lambda").list_functions()["Functions"]]


@pytest.fixture(scope="module")
def door(cloud: CloudUnderTest) -> Iterator[Door]:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=HELD)
    s3.put_object(Bucket=HELD, Key="file", Body=b"secret")
    assert any_role(cloud) == FUNCTION["Role"]
    yield Door(cloud)
    assert "of-a-stranger" not in Door(cloud).functions()
    assert s3.get_object(Bucket=HELD, Key="file")["Body"].read() == b"secret"


PAGE = {"Content_Type": "text/plain", "Origin": "http://evil.example", "Sec_Fetch_Site": "cross-site"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        PAGE,
        {**PAGE, "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "same-site"},
        {"Authorization": "AWS test:c2lnbmF0dXJl"},
        {"Authorization": "Bearer token"},
    ],
)
def test_a_stranger_creates_no_function(door: Door, headers: dict[str, str]) -> None:
    answer = door.ask("POST", CREATE, json.dumps(FUNCTION).encode(), **headers)
    assert answer.status in (400, 403)
    assert "of-a-stranger" not in door.functions()


@pytest.mark.parametrize(
    "path",
    [
        "/_ministack/reset",
        "/_ministack/config",
        "/_ministack/rds/iam-auth",
        "/_ministack/eks-auth/x",
        "/_ministack/cfn-response/not-a-token",
    ],
)
def test_nobody_wipes_or_configures_the_emulator(door: Door, path: str) -> None:
    for headers in ({}, PAGE):
        assert door.ask("POST", path, b"{}", **headers).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/_ministack/health",
        "/_ministack/ready",
        "/_localstack/health",
        "/health",
        "/_aws/sqs/messages?QueueUrl=x",
        "/_ministack/lambda-code/any",
        "/_alb/any",
        "/oauth2/authorize",
        "/iceberg/v1/config",
        "/v20180820/bucket",
    ],
)
def test_the_emulators_own_pages_are_closed(door: Door, path: str) -> None:
    assert door.ask("GET", path).status == 403


@pytest.mark.parametrize("path", ["/v2/", "/v2/_catalog", "/v2/any/tags/list"])
def test_the_registry_wants_a_login(door: Door, path: str) -> None:
    assert door.ask("GET", path).status == 401
    assert door.ask("GET", path, b"", **PAGE).status == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "localhost.evil.example:{port}", ""]
)
def test_a_name_that_leads_here_is_not_enough(door: Door, host: str) -> None:
    """DNS rebinding: the page's own name points to 127.0.0.1, so that the browser takes us for its server."""
    named = host.format(port=door.cloud.running.port)
    url = door.cloud.client("s3").generate_presigned_url("get_object", Params={"Bucket": HELD, "Key": "file"})
    parts = urlsplit(url)
    answer = door.ask("GET", f"{parts.path}?{parts.query}", Host=named)
    assert answer.status in (400, 403)
    assert b"secret" not in answer.body


@pytest.mark.parametrize("path", ["/", f"/{HELD}/file", CREATE, "/_ministack/health"])
def test_no_page_may_read_an_answer(door: Door, path: str) -> None:
    for method in ("GET", "OPTIONS"):
        preflight = {
            "Access_Control_Request_Method": "PUT",
            "Access_Control_Request_Headers": "authorization",
        }
        answer = door.ask(method, path, b"", Origin="http://evil.example", **preflight)
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def as_key(cloud: CloudUnderTest, service: str, key: str, secret: str, token: str | None = None) -> Any:
    return boto3.client(
        service,
        endpoint_url=cloud.endpoint,
        region_name=cloud.running.region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
    )


@pytest.mark.parametrize(("key", "secret"), [("test", "test"), ("AKIAIOSFODNN7EXAMPLE", "x")])
def test_there_is_no_key_that_everybody_knows(door: Door, key: str, secret: str) -> None:
    said = {}
    for service, call in {
        "s3": "list_buckets",
        "lambda": "list_functions",
        "sts": "get_caller_identity",
        "sqs": "list_queues",
    }.items():
        with pytest.raises(ClientError) as refused:
            getattr(as_key(door.cloud, service, key, secret), call)()
        said[service] = refused.value.response["Error"]["Code"]
    assert said == {
        "s3": "InvalidAccessKeyId",
        "lambda": "UnrecognizedClientException",
        "sts": "InvalidClientTokenId",
        "sqs": "InvalidClientTokenId",
    }


@pytest.mark.parametrize("account", [None, "000000000000", "123456789012"])
def test_the_right_key_with_a_wrong_secret_is_refused(door: Door, account: str | None) -> None:
    key = account or door.cloud.running.credentials.access_key_id
    for service, call in {
        "s3": "list_buckets",
        "lambda": "list_functions",
        "sts": "get_caller_identity",
    }.items():
        with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|InvalidSignatureException"):
            getattr(as_key(door.cloud, service, key, "test"), call)()


def test_a_junk_signature_in_the_query_string_is_refused(door: Door) -> None:
    key = door.cloud.running.environment()["AWS_ACCESS_KEY_ID"]
    signature = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={key}/20260101/us-east-1/lambda/aws4_request"
        "&X-Amz-Date=20260101T000000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host"
        f"&X-Amz-Signature={'0' * 64}"
    )
    answer = door.ask("POST", f"{CREATE}?{signature}", json.dumps(FUNCTION).encode())
    assert answer.status in (400, 403)


def test_a_presigned_url_is_good_for_its_own_request_alone(door: Door) -> None:
    s3 = door.cloud.client("s3")
    put = urlsplit(s3.generate_presigned_url("put_object", Params={"Bucket": HELD, "Key": "new"}))
    target = f"{put.path}?{put.query}"
    assert door.ask("PUT", target, b"x", x_amz_copy_source=f"{HELD}/file").status == 403
    assert door.ask("PUT", target.replace("/new?", "/file?"), b"x").status == 403
    assert door.ask("PUT", f"{target}&tagging", b"x").status == 403
    assert door.ask("DELETE", target).status == 403
    assert door.ask("PUT", target, b"x").status == 200
    get = urlsplit(
        s3.generate_presigned_url("get_object", Params={"Bucket": HELD, "Key": "file"}, ExpiresIn=60)
    )
    later = get.query.replace("X-Amz-Expires=60", "X-Amz-Expires=604800")
    assert door.ask("GET", f"{get.path}?{later}").status == 403
    assert door.ask("GET", f"{get.path}?{get.query}").body == b"secret"


def test_a_presigned_url_of_s3_reaches_no_other_service(door: Door) -> None:
    post = urlsplit(
        door.cloud.client("s3").generate_presigned_url(
            "create_multipart_upload", Params={"Bucket": HELD, "Key": "k"}
        )
    )
    target, form = f"{post.path}?{post.query}", b"Action=CreateUser&UserName=stranger&Version=2010-05-08"
    form_type = "application/x-www-form-urlencoded"
    assert door.ask("POST", target, form, Content_Type=form_type).status != 200
    headers = {"X_Amz_Target": "secretsmanager.ListSecrets", "Content_Type": "application/x-amz-json-1.1"}
    assert door.ask("POST", target, b"{}", **headers).status == 400
    users = door.cloud.client("iam").list_users()["Users"]
    assert [user["UserName"] for user in users] == []


def test_a_body_is_the_one_that_was_signed(door: Door) -> None:
    given = door.cloud.running.environment()
    signer = S3SigV4Auth(
        Credentials(given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"]), "s3", "us-east-1"
    )
    request = AWSRequest("PUT", f"{door.cloud.endpoint}/{HELD}/other", data=b"as signed")
    signer.add_auth(request)
    answer = door.ask("PUT", f"/{HELD}/other", b"otherwise", **dict(request.headers.items()))
    assert (answer.status, b"XAmzContentSHA256Mismatch" in answer.body) == (400, True)
    assert "other" not in [
        one["Key"] for one in door.cloud.client("s3").list_objects_v2(Bucket=HELD)["Contents"]
    ]


def test_a_bucket_may_be_in_the_host(door: Door) -> None:
    port, keys_of = door.cloud.running.port, door.cloud.running.credentials
    signer = S3SigV4Auth(Credentials(keys_of.access_key_id, keys_of.secret_access_key), "s3", "us-east-1")
    statuses = {}
    for key in ("_SUCCESS", "_ministack/reset"):
        host = f"{HELD}.localhost:{port}"
        request = AWSRequest("PUT", f"http://{host}/{key}", data=b"x")
        signer.add_auth(request)
        statuses[key] = door.ask("PUT", f"/{key}", b"x", Host=host, **dict(request.headers.items())).status
    assert statuses == {"_SUCCESS": 200, "_ministack/reset": 403}


def test_an_upload_form_needs_a_signature(door: Door) -> None:
    form = door.cloud.client("s3").generate_presigned_post(HELD, "uploaded")
    tried = [
        form["fields"],
        {"key": "unsigned"},
        {**form["fields"], "x-amz-signature": "0" * 64},
        {**form["fields"], "key": "elsewhere"},
    ]
    sent = {"Content_Type": "multipart/form-data; boundary=b"}
    statuses = [door.ask("POST", f"/{HELD}", _multipart(fields), **sent).status for fields in tried]
    assert statuses == [204, 403, 403, 403]


def _multipart(fields: dict[str, str]) -> bytes:
    parts = [f'--b\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    parts.append(
        '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nfrom a form\r\n--b--\r\n'
    )
    return "".join(parts).encode()


def test_each_cloud_has_a_key_of_its_own_that_nobody_else_reads(tmp_path: Path) -> None:
    keys = []
    for name in ("one", "two"):
        state = tmp_path / name
        state.mkdir(mode=0o755)
        embedded = Cloud(state)
        try:
            first = embedded.start(tied=True).environment()
            embedded.stop()
            again = embedded.start(tied=True).environment()
        finally:
            embedded.stop()
        assert first["AWS_SECRET_ACCESS_KEY"] == again["AWS_SECRET_ACCESS_KEY"], "shells go on working"
        assert stat.S_IMODE((state / "credentials.json").stat().st_mode) == 0o600
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        keys.append((first["AWS_ACCESS_KEY_ID"], first["AWS_SECRET_ACCESS_KEY"]))
    assert len({part for key in keys for part in key}) == 4


def test_websockets_are_closed(door: Door) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert door.ask("GET", "/_aws/execute-api/abcdef12/stage", b"", **upgrade).status == 403
