"""Connections to HTTP servers that are used again, through a proxy where the environment names one.

Of a pull's dozen requests most go to the same two servers. A new connection costs two or three journeys of
light to and fro, and a key exchange; an old one nothing. A server may close an idle connection whenever it
likes: a request that an old connection does not take is sent once more over a new one.
"""

from __future__ import annotations

import base64
import functools
import http.client
import ssl
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from containers.registry.patience import ReceivingPace

NETWORK_ERRORS = (OSError, http.client.HTTPException)

_KEPT = 4  # for each server: as many as are in use at once

_PIECE = 64 << 10

_PROXY_PORT = 80

_Place = tuple[str, str]  # scheme and host[:port]


@dataclass(frozen=True)
class _Proxy:
    host: str
    port: int
    headers: Mapping[str, str]


class Response:
    """An answer whose body is still to be read. Closing gives the connection back, or ends it."""

    def __init__(
        self,
        pool: RegistryConnections,
        place: _Place,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
    ) -> None:
        self._pool = pool
        self._place = place
        self._connection = connection
        self._response = response
        self.status = response.status
        self.headers = response.headers

    def read(self, size: int, pace: ReceivingPace | None = None) -> bytes:
        """`size` bytes, less only at the end. Raises IncompleteRead if the server has promised more."""
        # Of a body in chunks http.client's own `read` would take a negative length for "all that there is".
        parts: list[bytes] = []
        left = size
        while left > 0:
            wanted = min(left, _PIECE)
            part = self.read1(wanted) if pace is None else pace.read(self.read1, wanted)
            if not part:
                break
            parts.append(part)
            left -= len(part)
        content = b"".join(parts)
        if left and self._response.length:
            raise http.client.IncompleteRead(content, self._response.length)
        return content

    def read1(self, size: int) -> bytes:
        """What is there, at most `size` bytes; `b""` at the end."""
        return self._response.read1(size)

    def read_rest(self, limit: int) -> bytes:
        """At most `limit` bytes of the body, as far as they arrive; closes."""
        try:
            return self.read(limit)
        except NETWORK_ERRORS:
            return b""
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connection; it is used again if the body was read to its end."""
        complete = self._response.isclosed() or self._response.length == 0
        self._response.close()
        if complete and not self._response.will_close:
            self._pool.give_back(self._place, self._connection)
        else:
            self._connection.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class RegistryConnections:
    """Sends requests; several threads may do so at once."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._idle: dict[_Place, list[http.client.HTTPConnection]] = {}
        self._closed = False
        self._proxies = urllib.request.getproxies()

    def get(self, url: str, headers: Mapping[str, str]) -> Response:
        """The response to a GET request, redirects and errors too. Raises one of NETWORK_ERRORS."""
        return self.request("GET", url, headers)

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | bytearray | None = None
    ) -> Response:
        """The response to one request, redirects and errors too. Raises one of NETWORK_ERRORS."""
        try:
            parts = urllib.parse.urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise http.client.InvalidURL(f"{error}") from error
        if not host or parts.scheme not in ("http", "https"):
            raise http.client.InvalidURL(f"not a URL of a server: {url[:200]!r}")
        place = (parts.scheme, parts.netloc)
        proxy = self._proxy(parts.scheme, parts.netloc)
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        if proxy and parts.scheme == "http":
            target = url.partition("#")[0]
            headers = {**headers, **proxy.headers}
        while True:
            connection, used = self._take(place), True
            if connection is None:
                connection, used = self._connect(parts.scheme, host, port, proxy), False
            try:
                connection.request(method, target, body=body, headers=dict(headers))
                return Response(self, place, connection, connection.getresponse())
            except UnicodeError as error:  # a host name with an empty part, or with a very long one
                connection.close()
                raise http.client.InvalidURL(f"not a name of a server: {host[:200]!r}") from error
            except BaseException as error:
                connection.close()
                if not used or not isinstance(error, (ConnectionError, http.client.BadStatusLine)):
                    raise

    def give_back(self, place: _Place, connection: http.client.HTTPConnection) -> None:
        """Keep `connection` for the next request."""
        idle = self._idle.setdefault(place, [])
        if self._closed or len(idle) >= _KEPT:
            connection.close()
        else:
            idle.append(connection)

    def close(self) -> None:
        """Close all that are idle now, and those in use when they are given back."""
        self._closed = True
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    def _take(self, place: _Place) -> http.client.HTTPConnection | None:
        try:
            return self._idle[place].pop()
        except (KeyError, IndexError):
            return None

    def _proxy(self, scheme: str, netloc: str) -> _Proxy | None:
        address = self._proxies.get(scheme) or self._proxies.get("all")
        if not address or urllib.request.proxy_bypass(netloc):
            return None
        try:
            parts = urllib.parse.urlsplit(address if "://" in address else f"http://{address}")
            port = parts.port or _PROXY_PORT
        except ValueError as error:
            raise http.client.InvalidURL(f"the proxy of {scheme}_proxy cannot be understood") from error
        headers = {}
        if parts.username:
            login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            headers["Proxy-Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        return _Proxy(parts.hostname or "", port, headers)

    def _connect(
        self, scheme: str, host: str, port: int | None, proxy: _Proxy | None
    ) -> http.client.HTTPConnection:
        there = (host, port) if proxy is None else (proxy.host, proxy.port)
        if scheme == "http":
            return http.client.HTTPConnection(*there, timeout=self._timeout_s)
        connection = http.client.HTTPSConnection(*there, timeout=self._timeout_s, context=_tls())
        if proxy is not None:
            connection.set_tunnel(host, port, dict(proxy.headers))
        return connection


@functools.cache
def _tls() -> ssl.SSLContext:
    """All certificates of the machine: loading them takes 20 ms."""
    return ssl.create_default_context()
