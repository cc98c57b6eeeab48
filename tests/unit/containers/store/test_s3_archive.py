"""An archive in S3, against a server that speaks the three requests of S3 that it takes."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers.errors import ExplainedError
from containers.store import ImageSource, prepare_image, rootfs
from tests.oci_images import File, Image, docker_save, tar_of


class Bucket:
    """`key` holds `content`; every third download breaks off in the middle."""

    def __init__(self, key: str, content: bytes) -> None:
        self.key = key
        self.content = content
        self.ranges: list[str] = []
        bucket = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(200, b"", len(bucket.content))

            def do_GET(self) -> None:
                wanted = self.headers["Range"]
                bucket.ranges.append(wanted)
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                part = bucket.content[int(first) : int(last) + 1]
                cut = len(part) // 2 if len(bucket.ranges) % 3 == 0 else len(part)
                self._answer(206, part[:cut], len(part))

            def _answer(self, status: int, body: bytes, length: int) -> None:
                found = self.path.partition("?")[0] == bucket.key
                self.send_response(status if found else 404)
                self.send_header("Content-Length", str(length if found else 0))
                self.send_header("ETag", '"etag"')
                self.end_headers()
                if found:
                    self.wfile.write(body)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    image = Image([tar_of([File("a", b"1")]), tar_of([File("b", b"2" * 300_000)])], {"Cmd": ["/a"]})
    served = Bucket("/assets/image.tar", docker_save(tmp_path / "image.tar", image).read_bytes())
    for name, value in {
        "AWS_ENDPOINT_URL": served.address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rootfs, "_resolved", {})
    yield served
    served.close()


def test_image_file_is_streamed_by_ranges_and_found_again_without_s3(tmp_path: Path, bucket: Bucket) -> None:
    source = ImageSource.archive_in_s3("s3://assets/image.tar")
    with prepare_image(source, store=tmp_path / "store", architecture="amd64") as root:
        assert (root.path / "b").read_bytes() == b"2" * 300_000
        assert (root.config.cmd, root.cached) == (("/a",), False)
    asked = len(bucket.ranges)
    with prepare_image(source, store=tmp_path / "store", architecture="amd64") as root:
        assert root.cached
    assert len(bucket.ranges) == asked


def test_missing_image_file_says_so(tmp_path: Path, bucket: Bucket) -> None:
    with pytest.raises(ExplainedError) as caught:
        prepare_image(
            ImageSource.archive_in_s3("s3://assets/other.tar"), store=tmp_path, architecture="amd64"
        )
    assert caught.value.kind == "ImageNotFound"
    assert "s3://assets/other.tar" in caught.value.cause
