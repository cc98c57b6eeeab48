"""A server on loopback that answers with bytes of a case: wrong lengths, chunks, headers, cuts."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

ORIGIN, OTHER = "@origin@", "@other@"
"""In headers and bodies of a case: the server's own address, and that of a stranger's server."""

STATUS = st.one_of(
    st.just(200),
    st.sampled_from([200, 206, 204, 301, 302, 307, 400, 401, 403, 404, 416, 429, 500, 503, 100, 999, 0, -1]),
)
FRAMING = st.sampled_from(
    "length length length short long negative words twice huge chunked chunked bad-chunk huge-chunk "
    "endless-chunk none cut silent bare".split()
)
_HEADER_VALUES = st.one_of(
    st.sampled_from(
        [
            *(
                "",
                "0",
                "-1",
                "9" * 400,
                "bytes 0-0/1",
                "bytes */*",
                "gzip",
                "chunked",
                "close",
                "nan",
                "a\r\nX: y",
            ),
            *(
                ORIGIN,
                f"{OTHER}/steal",
                "//[",
                "http://[::1",
                "http://a..b/",
                "file:///etc/passwd",
                "/",
                "",
                "?x",
            ),
            *(
                "http://127.0.0.1:99999/",
                "http://127.0.0.1:x/",
                "https://127.0.0.1:1/",
                "\x00",
                "é",
                "x" * 70_000,
            ),
            *(
                "Thu, 01 Jan 1970 00:00:00 GMT",
                "Mon, 99 Foo 99999 99:99:99 GMT",
                "1e9",
                "application/json; x",
            ),
        ]
    ),
    st.text(st.characters(max_codepoint=255), max_size=20),
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            "Location Retry-After Content-Range Content-Type Content-Encoding Docker-Content-Digest "
            "Connection ETag Set-Cookie Transfer-Encoding X-Y".split()
        ),
        _HEADER_VALUES,
    ).map(list),
    max_size=2,
)


class Wire:
    """Answers each request with the bytes that `answer` gives; None closes the connection."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.answer: Callable[[str, bytes], bytes | None] = lambda _path, _head: None
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._socket.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        with connection, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                more = connection.recv(65536)
                if not more:
                    return
                data += more
            head, _, body = data.partition(b"\r\n\r\n")
            length = next(
                (
                    int(line[15:])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ),
                0,
            )
            if len(body) < length and b"100-continue" in head:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            while len(body) < length and (more := connection.recv(65536)):
                body += more
            self.requests.append(head + b"\r\n\r\n" + body)
            words = head.split(b" ", 2)
            answer = self.answer(words[1].decode("latin-1"), head)
            if answer is not None:
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)


def answer_bytes(
    answer: Mapping[str, Any], origin: str, other: str, *, head_only: bool = False
) -> bytes | None:
    """An answer of a case on the wire. The connection is closed behind it."""

    def text(value: str) -> bytes:
        return value.replace(ORIGIN, origin).replace(OTHER, other).encode("latin-1", "replace")

    body: bytes = answer["body"]
    body = body.replace(ORIGIN.encode(), origin.encode()).replace(OTHER.encode(), other.encode())
    framing = answer.get("framing", "length")
    if framing == "silent":
        return None
    if framing == "bare":
        return body
    lines = [b"HTTP/1.1 %d Answer" % answer.get("status", 200), b"Connection: close"]
    lines += [text(name) + b": " + text(value) for name, value in answer.get("headers", ())]
    lengths = {"length": 0, "short": -1, "long": 5, "cut": 0}
    if framing in lengths:
        lines.append(b"Content-Length: %d" % max(0, len(body) + lengths[framing]))
    odd = {"negative": b"-5", "words": b"many", "huge": b"9" * 30}
    if framing in odd:
        lines.append(b"Content-Length: " + odd[framing])
    if framing == "twice":
        lines += [b"Content-Length: %d" % len(body), b"Content-Length: 0"]
    if "chunk" in framing:
        lines.append(b"Transfer-Encoding: chunked")
        body = {
            "chunked": b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n",
            "bad-chunk": b"zz\r\n" + body,
            "huge-chunk": b"f" * 40 + b"\r\n" + body,
            "endless-chunk": b"%x\r\n%s\r\n" % (len(body), body) + b"1;x=" + b"y" * 70_000,
        }[framing]
    if framing == "cut":
        body = body[: len(body) // 2]
    return b"\r\n".join([*lines, b"", b""]) + (b"" if head_only else body)
