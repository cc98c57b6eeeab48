"""Against the emulator's S3."""

from __future__ import annotations

import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from containers.errors import ExplainedError
from runtime.config import StorageConnection
from runtime.storage import StoredObject, open_storage
from runtime.storage.contract import Upload, content_type
from runtime.storage.s3 import PARALLEL_FROM
from runtime.storage.s3_keyed import KeyedS3Storage
from tests.registry_server import Answer, ScriptedServer
from tests.unit.runtime.conftest import Bucket

NAMES = ["a b+c.jpg", "ü/ñ.png", "100%.txt", "x'\"$(id).txt", "-rf", "new\nline", "a/../b", "tail "]


@pytest.mark.parametrize("name", NAMES)
def test_object_of_any_name_comes_down_and_goes_up(name: str, bucket: Bucket, tmp_path: Path) -> None:
    bucket.put(name, b"hello")
    storage = open_storage("s3")
    sizes: list[int] = []
    assert storage.download(StoredObject(bucket.name, name), tmp_path / "file", on_size=sizes.append) == 5
    assert sizes == [5]
    assert (tmp_path / "file").read_bytes() == b"hello"
    storage.upload([Upload(tmp_path / "file", bucket.name, "copy/" + name, 5)])
    assert bucket.get("copy/" + name) == b"hello"


def test_large_object_comes_in_ranges_and_goes_in_parts(bucket: Bucket, tmp_path: Path) -> None:
    content = bytes(range(256)) * (PARALLEL_FROM // 256) + b"tail"
    (tmp_path / "up").write_bytes(content)
    storage = open_storage("s3")
    storage.upload([Upload(tmp_path / "up", bucket.name, "large.bin", len(content))])
    source = StoredObject(bucket.name, "large.bin", size=len(content))
    assert storage.download(source, tmp_path / "down", on_size=lambda _: None) == len(content)
    assert (tmp_path / "down").read_bytes() == content


def test_version_of_the_event_is_what_is_fetched(bucket: Bucket, tmp_path: Path) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    first = bucket.client.put_object(Bucket=bucket.name, Key="k", Body=b"first")["VersionId"]
    bucket.put("k", b"second")
    source = StoredObject(bucket.name, "k", version_id=first)
    open_storage("s3").download(source, tmp_path / "file", on_size=lambda _: None)
    assert (tmp_path / "file").read_bytes() == b"first"


def test_role_that_may_not_read_versions_gets_the_object_as_it_is(
    aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class NoVersions(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            denied = "versionId=" in self.path
            body = b"<Error><Code>AccessDenied</Code></Error>" if denied else b"now"
            self.send_response(403 if denied else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), NoVersions) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
            source = StoredObject("bucket", "k", size=3, version_id="v1")
            open_storage("s3").download(source, tmp_path / "file", on_size=lambda _: None)
        finally:
            server.shutdown()
            thread.join()
    assert (tmp_path / "file").read_bytes() == b"now"


@pytest.mark.parametrize("size", [7, PARALLEL_FROM, None])
def test_missing_object_is_told_clearly(size: int | None, bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(ExplainedError) as caught:
        open_storage("s3").download(
            StoredObject(bucket.name, "gone", size=size), tmp_path / "file", on_size=lambda _: None
        )
    assert caught.value.kind == "InputMissing"
    assert f"s3://{bucket.name}/gone does not exist" in caught.value.cause


def test_many_files_go_up_with_their_content_types(bucket: Bucket, tmp_path: Path) -> None:
    uploads = []
    for number in range(30):
        (tmp_path / f"{number}.png").write_bytes(b"x" * number)
        uploads.append(Upload(tmp_path / f"{number}.png", bucket.name, f"out/{number}.png", number))
    open_storage("s3").upload(uploads)
    assert len(bucket.keys("out/")) == 30
    assert bucket.content_type("out/7.png") == "image/png"


def test_upload_that_fails_is_told(aws_environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    missing = f"missing-{uuid.uuid4().hex}"
    with pytest.raises(ExplainedError) as caught:
        open_storage("s3").upload([Upload(tmp_path / "file", missing, "k", 0)])
    assert f"s3://{missing}/k" in caught.value.cause


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jpg", "image/jpeg"),
        ("a.json", "application/json"),
        ("a.tar.gz", "application/gzip"),
        ("a.svgz", "application/gzip"),
        ("a", "application/octet-stream"),
        ("a.unheard-of", "application/octet-stream"),
    ],
)
def test_content_type_is_guessed_from_the_name(name: str, kind: str) -> None:
    assert content_type(name) == kind


@pytest.mark.parametrize("provider", ["webdav", "rucio.x", "s3.other", "minio.x"])
def test_unknown_provider_is_refused(provider: str) -> None:
    with pytest.raises(ExplainedError) as caught:
        open_storage(provider)
    assert caught.value.kind == "UnknownStorage"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(403, b"<Error><Code>AccessDenied</Code></Error>", cut_at=10),
        Answer(403, b"<Error>", {"Content-Length": "100"}),
        Answer(200, b"content", {"Content-Length": "many"}),
        Answer(200, b"0\r\n\r\n", {"Content-Length": "", "Transfer-Encoding": "chunked"}),
    ],
)
def test_answer_that_is_cut_off_or_malformed_is_a_failed_download(
    answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.storage.s3_keyed.ATTEMPTS", 1)
    with ScriptedServer(lambda _request: answer) as server:
        settings = {"endpoint": server.address, "access_key": "k", "secret_key": "s"}
        storage = KeyedS3Storage(StorageConnection("minio.x", {}), settings)
        with pytest.raises(ExplainedError, match="could not be downloaded") as caught:
            storage.download(
                StoredObject("b", "k", provider="minio.x"), tmp_path / "k", on_size=lambda _size: None
            )
    assert caught.value.kind == "DownloadFailed"
