"""Signatures: what botocore signs is accepted in every shape, and nothing that was changed afterwards is."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import (
    S3SigV4Auth,
    S3SigV4PostAuth,
    S3SigV4QueryAuth,
    SigV4Auth,
    SigV4QueryAuth,
)
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from local_cloud.access.signatures import (
    Request,
    Signature,
    SignatureError,
    check,
    policy_signature,
    read,
    sign,
    signing_key,
)
from local_cloud.access.signed_chunks import ChunkReader

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEYS = Credentials("AKIAIOSFODNN7EXAMPLE", SECRET)
SESSION = Credentials("ASIAIOSFODNN7EXAMPLE", SECRET, "token/with+signs==")
HOST = "http://127.0.0.1:4566"

HOSTILE = [
    "plain.txt",
    "with space",
    "a+b",
    "100%",
    "%2F",
    "a%20b",
    "ünï/cödé/日本語",
    "//twice//",
    "./dots/../here/.",
    "...",
    "tilde~star*quote'(paren)!",
    "semi;colon,comma=equals&and",
    "hash#question?",
    "back\\slash",
    "tab\tnewline\n",
    "\x00nul",
    "emoji😀",
    "trailing/",
]


def arrived(request: AWSRequest) -> Request:
    """What a server reads of a request that was signed."""
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    headers = [
        (k.lower().encode(), v if isinstance(v, bytes) else str(v).encode())
        for k, v in prepared.headers.items()
    ]
    if not any(name == b"host" for name, _value in headers):
        headers.append((b"host", parts.netloc.encode()))
    return Request(str(request.method), parts.path.encode(), parts.query.encode(), headers)


def verify(
    request: Request, body: bytes = b"", secret: str = SECRET, now: datetime | None = None
) -> Signature:
    signature = read(request)
    assert signature is not None
    check(request, signature, secret, signature.payload or hashlib.sha256(body).hexdigest(), now)
    return signature


@pytest.mark.parametrize("key", HOSTILE)
@pytest.mark.parametrize("signer", [S3SigV4Auth, S3SigV4QueryAuth])
@pytest.mark.parametrize("credentials", [KEYS, SESSION])
def test_s3_keys(key: str, signer: type[SigV4Auth], credentials: Credentials) -> None:
    body = b"body" if signer is S3SigV4Auth else b""  # botocore takes what it presigns for parameters
    request = AWSRequest("PUT", f"{HOST}/bucket/{quote(key, safe='/~')}", data=body)
    signer(credentials, "s3", "us-east-1").add_auth(request)
    signature = verify(arrived(request), body)
    assert (signature.access_key_id, signature.token) == (credentials.access_key, credentials.token or "")


@pytest.mark.parametrize("key", HOSTILE)
@pytest.mark.parametrize("signer", [SigV4Auth, SigV4QueryAuth])
def test_paths_of_other_services(key: str, signer: type[SigV4Auth]) -> None:
    """They are normalized, and encoded twice."""
    body = b"{}" if signer is SigV4Auth else b""
    request = AWSRequest("POST", f"{HOST}/2015-03-31/functions/{quote(key, safe='')}/invocations", data=body)
    signer(KEYS, "lambda", "us-east-1").add_auth(request)
    verify(arrived(request), body)


QUERIES = [
    {"uploads": ""},
    {"prefix": "a b+c", "delimiter": "/"},
    {"prefix": "ü%2F&=?"},
    {"response-content-disposition": 'attachment; filename="a b.txt"'},
    {"": "nameless", "b": "", "B": "case", "a-b": "1", "a.b": "2", "a_b": "3", "a~b": "4", "a b": "5"},
]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize(
    ("signer", "service"), [(S3SigV4Auth, "s3"), (SigV4Auth, "execute-api"), (S3SigV4QueryAuth, "s3")]
)
def test_queries(query: dict[str, str], signer: type[SigV4Auth], service: str) -> None:
    request = AWSRequest("GET", f"{HOST}/bucket", params=query)
    signer(KEYS, service, "us-east-1").add_auth(request)
    verify(arrived(request))


def test_repeated_query_keys() -> None:
    url = f"{HOST}/tags?tagKeys=b&tagKeys=a&tagKeys=&tagKeys=a%20b&x"
    for signer, service in ((S3SigV4Auth, "s3"), (SigV4Auth, "lambda")):
        # botocore signs a bare `x` of a URL as `x=`, as the standard says
        request = AWSRequest("DELETE", url)
        signer(KEYS, service, "us-east-1").add_auth(request)
        verify(arrived(request))


text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
names_of_query = text.filter(lambda name: not name.lower().startswith(("x-amz", "aws", "sig")))


@settings(max_examples=150, deadline=None)
@given(path=text, names=st.dictionaries(names_of_query, text, max_size=4), body=st.binary(max_size=50))
def test_whatever_botocore_signs(path: str, names: dict[str, str], body: bytes) -> None:
    for signer, service in ((S3SigV4Auth, "s3"), (SigV4Auth, "batch")):
        request = AWSRequest("POST", f"{HOST}/b/{quote(path, safe='/~')}", params=names, data=body)
        signer(KEYS, service, "eu-west-1").add_auth(request)
        came = arrived(request)
        verify(came, body)
        with pytest.raises(SignatureError):
            verify(Request("GET", came.path, came.query, came.headers), body)
        with pytest.raises(SignatureError):
            verify(Request("POST", came.path + b"x", came.query, came.headers), body)
        with pytest.raises(SignatureError):
            verify(Request("POST", came.path, came.query + b"&x=y", came.headers), body)
        with pytest.raises(SignatureError):
            verify(came, body, secret="another")
        if service == "batch":
            with pytest.raises(SignatureError):
                verify(came, body + b"x")


def signed(**headers: str) -> Request:
    request = AWSRequest("GET", f"{HOST}/bucket/key", headers=headers)
    S3SigV4Auth(KEYS, "s3", "us-east-1").add_auth(request)
    return arrived(request)


def test_headers_are_trimmed_and_repeated_ones_are_joined() -> None:
    verify(signed(**{"x-amz-meta-note": "  two   spaces and\ttab  "}))
    came = signed(**{"x-amz-meta-note": "one,two"})
    note = (b"x-amz-meta-note", b"one,two")
    apart = [header for header in came.headers if header != note] + [
        (b"x-amz-meta-note", b" one"),
        (b"X-Amz-Meta-Note", b"two "),
    ]
    verify(Request("GET", came.path, came.query, apart))


@pytest.mark.parametrize(
    "added",
    [
        (b"x-amz-copy-source", b"other/secret"),
        (b"x-amz-target", b"secretsmanager.ListSecrets"),
        (b"host", b"evil.example"),
        (b"authorization", b"AWS4-HMAC-SHA256 Credential=x"),
        (b"x-amz-security-token", b"of another"),
        (b"x-amz-date", b"20300101T000000Z"),
    ],
)
def test_a_header_that_was_added_is_noticed(added: tuple[bytes, bytes]) -> None:
    came = signed()
    with pytest.raises(SignatureError):
        verify(Request("GET", came.path, came.query, [*came.headers, added]))


def time_of(request: Request) -> datetime:
    signature = read(request)
    assert signature is not None
    return datetime.strptime(f"{signature.signed_at}+0000", "%Y%m%dT%H%M%SZ%z")


def presigned(expires: int = 60, **query: str) -> Request:
    request = AWSRequest("GET", f"{HOST}/bucket/key", params=query)
    S3SigV4QueryAuth(KEYS, "s3", "us-east-1", expires).add_auth(request)
    return arrived(request)


@pytest.mark.parametrize(
    "added",
    [
        b"X-Amz-Expires=604800",
        b"x-amz-credential=AKIAOTHER/20260101/us-east-1/s3/aws4_request",
        b"AWSAccessKeyId=AKIAOTHER",
        b"X-Amz-Security-Token=of-another",
        b"X-Amz-Signature=" + b"0" * 64,
    ],
)
def test_a_presigned_url_has_its_credentials_once(added: bytes) -> None:
    came = presigned()
    for query in (came.query + b"&" + added, added + b"&" + came.query):
        with pytest.raises(SignatureError):
            verify(Request("GET", came.path, query, came.headers))


def test_a_request_is_signed_in_one_place() -> None:
    came, header = presigned(), signed()
    both = Request("GET", came.path, came.query, header.headers)
    with pytest.raises(SignatureError, match="signed once"):
        read(both)


@pytest.mark.parametrize("expires", [1, 60, 604800])
def test_a_presigned_url_is_good_for_as_long_as_it_says(expires: int) -> None:
    came = presigned(expires)
    at = time_of(came)
    for after in (0, expires):
        verify(came, now=at + timedelta(seconds=after))
    with pytest.raises(SignatureError, match="expired"):
        verify(came, now=at + timedelta(seconds=expires + 1))
    with pytest.raises(SignatureError, match="not yet"):
        verify(came, now=at - timedelta(minutes=15, seconds=1))


@pytest.mark.parametrize("expires", ["0", "604801", "-1", "1e3", "", "9" * 30, "٣"])
def test_no_url_is_good_for_longer_than_a_week(expires: str) -> None:
    came = presigned(60)
    query = came.query.replace(b"X-Amz-Expires=60", f"X-Amz-Expires={quote(expires)}".encode())
    with pytest.raises(SignatureError):
        read(Request("GET", came.path, query, came.headers))


def test_clocks_may_differ_by_a_quarter_of_an_hour() -> None:
    came = signed()
    for seconds in (-900, 900):
        verify(came, now=time_of(came) + timedelta(seconds=seconds))
    for seconds in (-901, 901):
        with pytest.raises(SignatureError, match=r"not yet|expired"):
            verify(came, now=time_of(came) + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=,SignedHeaders=,Signature=",
        "AWS4-HMAC-SHA256 Credential=a/b/c,SignedHeaders=host,Signature=" + "0" * 64,
        "AWS4-HMAC-SHA256 Credential=a/20260101/r/s3/aws4_request,SignedHeaders=host,Signature=ü" + "0" * 63,
        "AWS4-HMAC-SHA256 Credential=a/20260101/r/s3/aws4_request,"
        "Credential=b/20260101/r/s3/aws4_request,SignedHeaders=host,Signature=" + "0" * 64,
        "AWS4-ECDSA-P256-SHA256 Credential=a/20260101/s3/aws4_request,SignedHeaders=host,Signature=00",
        "AWS key:signature",
        "Basic dGVzdDp0ZXN0",
    ],
)
def test_what_is_no_signature_is_none_or_said(authorization: str) -> None:
    headers = [
        (b"host", b"x"),
        (b"authorization", authorization.encode()),
        (b"x-amz-date", b"20260101T000000Z"),
    ]
    request = Request("GET", b"/", b"", headers)
    if not authorization:
        assert read(request) is None
        return
    with pytest.raises(SignatureError):
        signature = read(request)
        assert signature is not None
        check(request, signature, SECRET, "")


@pytest.mark.parametrize(
    "payload", ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "0" * 63, "junk"]
)
def test_only_s3_takes_a_body_that_is_not_signed(payload: str) -> None:
    request = AWSRequest(
        "POST", f"{HOST}/v1/submitjob", data=b"{}", headers={"X-Amz-Content-SHA256": payload}
    )
    SigV4Auth(KEYS, "batch", "us-east-1").add_auth(request)
    with pytest.raises(SignatureError, match="body's SHA-256"):
        read(arrived(request))


def test_the_policy_of_an_upload_form() -> None:
    request = AWSRequest("POST", f"{HOST}/bucket")
    policy = {"expiration": "2030-01-01T00:00:00Z", "conditions": [{"bucket": "bucket"}]}
    request.context.update({"s3-presign-post-fields": {}, "s3-presign-post-policy": policy})
    S3SigV4PostAuth(KEYS, "s3", "us-east-1").add_auth(request)
    fields = request.context["s3-presign-post-fields"]
    assert json.loads(base64.b64decode(fields["policy"]))["conditions"][0] == {"bucket": "bucket"}
    given_fields = {"credential": fields["x-amz-credential"], "signed_at": fields["x-amz-date"]}
    assert policy_signature(fields["policy"], **given_fields, secret=SECRET) == fields["x-amz-signature"]
    assert (
        policy_signature(fields["policy"] + "=", **given_fields, secret=SECRET) != fields["x-amz-signature"]
    )
    with pytest.raises(SignatureError):
        policy_signature(
            "", credential="a/20260101/r/lambda/aws4_request", signed_at="20260101T000000Z", secret=SECRET
        )


# The example of the Amazon S3 API Reference, "Signature calculations for the Authorization header:
# transferring payload in multiple chunks": 66 560 bytes of `a`.
CHUNKED = Request(
    "PUT",
    b"/examplebucket/chunkObject.txt",
    b"",
    [
        (b"host", b"s3.amazonaws.com"),
        (b"x-amz-date", b"20130524T000000Z"),
        (b"x-amz-storage-class", b"REDUCED_REDUNDANCY"),
        (
            b"authorization",
            b"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
            b"SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;"
            b"x-amz-decoded-content-length;x-amz-storage-class,"
            b"Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        ),
        (b"x-amz-content-sha256", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        (b"content-encoding", b"aws-chunked"),
        (b"x-amz-decoded-content-length", b"66560"),
        (b"content-length", b"66824"),
    ],
)
CHUNKED_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
CHUNKS = (
    b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
    + b"a" * 65536
    + b"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n"
    + b"a" * 1024
    + b"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
)


def chunk_reader() -> ChunkReader:
    signature = read(CHUNKED)
    assert signature is not None
    assert signature.payload == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    check(CHUNKED, signature, CHUNKED_SECRET, signature.payload, datetime(2013, 5, 24, tzinfo=UTC))
    return ChunkReader(signature, CHUNKED_SECRET)


@pytest.mark.parametrize("size", [1, 7, 1000, 65536, 100_000])
def test_chunks_are_followed_however_they_arrive(size: int) -> None:
    reader = chunk_reader()
    for start in range(0, len(CHUNKS), size):
        reader.feed(CHUNKS[start : start + size])
    reader.finish()


@pytest.mark.parametrize(
    "changed",
    [
        CHUNKS.replace(b"a" * 100, b"a" * 99 + b"b", 1),
        CHUNKS.replace(b"ad80", b"ad81"),
        CHUNKS[: CHUNKS.index(b"400;")] + CHUNKS[CHUNKS.index(b"0;chunk-signature=b6c6") :],
        CHUNKS[:-80],
        CHUNKS + b"more",
        b"",
        b"x" * 20_000,
        b"-1;chunk-signature=x\r\n",
    ],
)
def test_chunks_that_were_changed_are_noticed(changed: bytes) -> None:
    reader = chunk_reader()
    with pytest.raises(SignatureError):
        reader.feed(changed)
        reader.finish()


def with_trailers(trailers: bytes, *, signed: bool) -> tuple[ChunkReader, bytes]:
    """A reader, and an upload without data whose trailers are these ("… including trailing headers")."""
    signature = read(CHUNKED)
    assert signature is not None
    signature = replace(signature, payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
    key = signing_key(signature, CHUNKED_SECRET)
    place = f"{signature.signed_at}\n{signature.scope}"
    nothing = hashlib.sha256(b"").hexdigest()
    last = sign(key, f"AWS4-HMAC-SHA256-PAYLOAD\n{place}\n{signature.value}\n{nothing}\n{nothing}")
    body = f"0;chunk-signature={last}\r\n".encode() + trailers.replace(b"\n", b"\r\n")
    if signed:
        hashed = hashlib.sha256(trailers).hexdigest()
        value = sign(key, f"AWS4-HMAC-SHA256-TRAILER\n{place}\n{last}\n{hashed}")
        body += f"x-amz-trailer-signature:{value}\r\n".encode()
    return ChunkReader(signature, CHUNKED_SECRET), body + b"\r\n"


def test_trailers_of_an_upload_are_signed() -> None:
    reader, body = with_trailers(b"x-amz-checksum-crc32c:sOO8/Q==\n", signed=True)
    reader.feed(body)
    reader.finish()
    for changed in (
        with_trailers(b"x-amz-checksum-crc32c:sOO8/Q==\n", signed=False)[1],
        body.replace(b"sOO8", b"sOO9"),
        body.replace(b"x-amz-checksum-crc32c:sOO8/Q==\r\n", b""),
    ):
        reader, _ = with_trailers(b"", signed=True)
        with pytest.raises(SignatureError):
            reader.feed(changed)
            reader.finish()
