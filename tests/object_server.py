"""What the runner's second tier takes of S3, on loopback: objects, conditions, ranges, uploads in
chunks, 403 for what is missing.

    python -m tests.object_server FOLDER

prints its address, and serves until its standard input ends. Objects are files in the folder.
"""

from __future__ import annotations

import email.utils
import hashlib
import http.server
import os
import secrets
import shutil
import sys
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

SMALLEST_CHUNK_BYTES = 5 << 20


@dataclass
class ObjectServer:
    """Keeps objects in `folder`; `requests` lists method and key of each request, in their order.

    `fault` may answer a request (method, key) by a status of its own, before it is obeyed. As many answers to
    requests for ranges as `cuts` says break off in the middle.
    """

    folder: Path
    fault: Callable[[str, str], int | None] = lambda _method, _key: None
    cuts: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_GET(self) -> None:
                key = self._key()
                if (status := server.noted("GET", key)) is not None:
                    self._answer(status)
                    return
                try:
                    with server.path(key).open("rb") as file:
                        self._send(file)
                except FileNotFoundError:
                    self._answer(403)

            def _send(self, file: BinaryIO) -> None:
                found = os.fstat(file.fileno())
                first, last = 0, found.st_size - 1
                if wanted := self.headers.get("Range"):
                    first, last = map(int, wanted.removeprefix("bytes=").split("-"))
                    last = min(last, found.st_size - 1)
                    if first > last:
                        self._answer(416)
                        return
                self.send_response(206 if wanted else 200)
                if wanted:
                    self.send_header("Content-Range", f"bytes {first}-{last}/{found.st_size}")
                self.send_header("ETag", server.etag(found))
                self.send_header("Last-Modified", email.utils.formatdate(found.st_mtime, usegmt=True))
                self.send_header("Content-Length", str(last + 1 - first))
                self.end_headers()
                self.wfile.flush()
                cut, server.cuts = server.cuts > 0 and bool(wanted), max(0, server.cuts - bool(wanted))
                if last >= first:
                    self.connection.sendfile(file, first, (last + 1 - first) // (2 if cut else 1))
                self.close_connection = cut

            def do_PUT(self) -> None:
                key, query = self._key(), self._query()
                content = self.rfile.read(int(self.headers["Content-Length"]))
                etag = None
                status = server.noted("PUT", key)
                if hashlib.sha256(content).hexdigest() != self.headers["X-Amz-Content-Sha256"]:
                    status = 400
                if status is None and "uploadId" in query:
                    chunk = f"{query['uploadId']}.{int(query['partNumber']):05}"
                    status, etag = server.put(chunk, content, None, None)
                elif status is None:
                    conditions = self.headers.get("If-None-Match"), self.headers.get("If-Match")
                    status, etag = server.put(key, content, *conditions)
                self._answer(status or 200, {"ETag": etag} if etag else {})

            def do_POST(self) -> None:
                key, query = self._key(), self._query()
                self.rfile.read(int(self.headers["Content-Length"]))
                if (status := server.noted("POST", key)) is not None:
                    self._answer(status)
                elif "uploads" in query:
                    upload = f"upload-{secrets.token_hex(8)}"
                    self._answer(200, {}, f"<UploadId>{upload}</UploadId>".encode())
                elif server.join(key, query["uploadId"]):
                    self._answer(200, {}, b"<CompleteMultipartUploadResult/>")
                else:
                    self._answer(200, {}, b"<Error><Code>EntityTooSmall</Code></Error>")

            def _query(self) -> dict[str, str]:
                query = urllib.parse.urlsplit(self.path).query
                return dict(urllib.parse.parse_qsl(query, keep_blank_values=True))

            def _key(self) -> str:
                return urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/")

            def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """Variables for whoever is to talk to this server."""
        return {
            "AWS_ENDPOINT_URL_S3": self.address,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "SCAR_IMAGE_CACHE": "s3://cache",
        }

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def path(self, key: str) -> Path:
        """The file of an object."""
        return self.folder / urllib.parse.quote(key, safe="")

    def keys(self, prefix: str = "") -> list[str]:
        """Keys in the bucket `cache`, without its name."""
        found = (urllib.parse.unquote(path.name).removeprefix("cache/") for path in self.folder.iterdir())
        return sorted(key for key in found if key.startswith(prefix))

    def count(self, method: str, prefix: str) -> int:
        """How many requests there were below a prefix."""
        return sum(one == method and key.startswith(f"cache/{prefix}") for one, key in self.requests)

    def noted(self, method: str, key: str) -> int | None:
        """Note a request; the status that it is to fail with."""
        self.requests.append((method, key))
        return self.fault(method, key.removeprefix("cache/"))

    def put(
        self, key: str, content: bytes, if_none_match: str | None, if_match: str | None
    ) -> tuple[int, str | None]:
        """Write an object, if the conditions hold; status and ETag."""
        path = self.path(key)
        temporary = self.folder / f".{threading.get_ident()}"
        temporary.write_bytes(content)
        with self._lock:
            there = self.etag(path.stat()) if path.exists() else None
            if if_none_match == "*" and there is not None:
                return 412, None
            if if_match is not None and there != if_match:
                return (404, None) if there is None else (412, None)
            temporary.replace(path)
            return 200, self.etag(path.stat())

    def join(self, key: str, upload: str) -> bool:
        """Make one object of the chunks of an upload; False if one of them is too small."""
        chunks = sorted(self.folder.glob(f"{upload}.*"))
        if any(chunk.stat().st_size < SMALLEST_CHUNK_BYTES for chunk in chunks[:-1]):
            return False
        with chunks[0].open("ab") as whole:
            for chunk in chunks[1:]:
                with chunk.open("rb") as more:
                    shutil.copyfileobj(more, whole, 1 << 20)
                chunk.unlink()
        chunks[0].replace(self.path(key))
        return True

    @staticmethod
    def etag(found: os.stat_result) -> str:
        """Changes whenever the object is written."""
        return f'"{found.st_ino:x}-{found.st_mtime_ns:x}"'


def main() -> None:
    """Serve until standard input ends."""
    server = ObjectServer(Path(sys.argv[1]))
    print(server.address, flush=True)
    sys.stdin.read()
    server.close()


if __name__ == "__main__":
    main()
