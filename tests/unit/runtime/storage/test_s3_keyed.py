"""`s3.NAME` and `minio.NAME`, against a second server that checks signatures."""

from __future__ import annotations

import socket
import ssl
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from containers.errors import ExplainedError
from runtime.config import StorageConnection
from runtime.storage.contract import CredentialsRefusedError, StoredObject, Upload
from runtime.storage.s3_keyed import KeyedS3Storage
from tests.unit.runtime.storage.conftest import S3Server
from tests.unit.runtime.storage.servers import threaded

NAMES = ["a b+c.jpg", "ü/ñ.png", "100%.txt", "x'\"$(id).txt"]


def minio(server: S3Server, **settings: str) -> KeyedS3Storage:
    keys = {"access_key": server.access_key, "secret_key": server.secret_key, "endpoint": server.endpoint}
    return KeyedS3Storage(StorageConnection("minio.lab", {}), keys | settings)


def upload(storage: KeyedS3Storage, folder: Path, bucket: str, key: str, content: bytes = b"hello") -> None:
    (folder / "up").write_bytes(content)
    storage.upload([Upload(folder / "up", bucket, key, len(content))])


@pytest.mark.parametrize("name", NAMES)
def test_file_goes_to_the_other_server_and_comes_back(
    name: str, s3_server: S3Server, aws_environment: dict[str, str], tmp_path: Path
) -> None:
    bucket = s3_server.bucket()
    storage = minio(s3_server)
    upload(storage, tmp_path, bucket, f"sub/{name}")
    assert s3_server.files(bucket) == {f"sub/{name}": b"hello"}
    sizes: list[int] = []
    source = StoredObject(bucket, f"sub/{name}", provider="minio.lab")
    assert storage.download(source, tmp_path / "down", on_size=sizes.append) == 5
    assert sizes == [5]
    assert (tmp_path / "down").read_bytes() == b"hello"


def test_other_account_is_reached_with_its_keys_and_nothing_of_the_role(
    s3_server: S3Server, aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-the-role")  # would make the signature invalid
    bucket = s3_server.bucket()
    keys = {"access_key": s3_server.access_key, "secret_key": s3_server.secret_key, "region": "us-east-1"}
    upload(KeyedS3Storage(StorageConnection("s3.partner", {}), keys), tmp_path, bucket, "k")
    assert s3_server.files(bucket) == {"k": b"hello"}


@pytest.mark.parametrize("wrong", [{"secret_key": "not-the-secret"}, {"access_key": "AKIANOBODYNOBODYNOBO"}])
def test_wrong_keys_are_told_without_showing_them(
    wrong: dict[str, str], s3_server: S3Server, aws_environment: dict[str, str], tmp_path: Path
) -> None:
    bucket = s3_server.bucket()
    with pytest.raises(CredentialsRefusedError) as caught:
        upload(minio(s3_server, **wrong), tmp_path, bucket, "k")
    assert f"minio.lab refused the output minio.lab://{bucket}/k" in str(caught.value)
    with pytest.raises(CredentialsRefusedError) as refused:
        minio(s3_server, **wrong).download(
            StoredObject(bucket, "k"), tmp_path / "down", on_size=lambda _: None
        )
    for text in (str(caught.value), str(refused.value)):
        assert not any(value in text for value in (*wrong.values(), s3_server.secret_key))
    assert s3_server.files(bucket) == {}


def test_place_that_is_forbidden_or_missing_is_told(
    s3_server: S3Server, aws_environment: dict[str, str], tmp_path: Path
) -> None:
    bucket = s3_server.bucket()
    with pytest.raises(CredentialsRefusedError, match="AccessDenied"):
        upload(minio(s3_server), tmp_path, bucket, "forbidden/k")
    with pytest.raises(ExplainedError) as caught:
        upload(minio(s3_server), tmp_path, "no-such-bucket-here", "k")
    assert "minio.lab" in str(caught.value)
    with pytest.raises(ExplainedError) as caught:
        minio(s3_server).download(
            StoredObject(bucket, "gone", provider="minio.lab"), tmp_path / "down", on_size=lambda _: None
        )
    assert caught.value.kind == "InputMissing"


def test_server_that_is_gone_is_told(
    s3_server: S3Server, aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("runtime.storage.s3_keyed.ATTEMPTS", 2)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ExplainedError) as caught:
            upload(minio(s3_server, endpoint=endpoint), tmp_path, "bucket", "k")
    assert caught.value.kind == "UploadFailed"
    assert endpoint in str(caught.value)


def test_certificate_is_checked_unless_the_user_says_otherwise(
    certificate: tuple[Path, Path],
    aws_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("runtime.storage.s3_keyed.ATTEMPTS", 1)

    class AnyObject(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *args: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    source = StoredObject("bucket", "k", provider="minio.lab")
    with threaded(AnyObject, context) as endpoint:
        settings = {"endpoint": endpoint, "access_key": "a", "secret_key": "b"}
        strict = KeyedS3Storage(StorageConnection("minio.lab", {}), settings)
        with pytest.raises(ExplainedError, match="CERTIFICATE_VERIFY_FAILED"):
            strict.download(source, tmp_path / "down", on_size=lambda _: None)
        trusting = KeyedS3Storage(StorageConnection("minio.lab", {}, verify=False), settings)
        assert trusting.download(source, tmp_path / "down", on_size=lambda _: None) == 5


@pytest.mark.parametrize("endpoint", ["ftp://h", "https://ann:top-secret@h", ""])
def test_bad_endpoint_is_refused(endpoint: str, aws_environment: dict[str, str]) -> None:
    with pytest.raises(ExplainedError) as caught:
        KeyedS3Storage(
            StorageConnection("minio.lab", {}), {"endpoint": endpoint, "access_key": "a", "secret_key": "b"}
        )
    assert caught.value.kind == "Misconfigured"
    assert "top-secret" not in str(caught.value)
