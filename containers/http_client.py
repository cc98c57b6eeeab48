"""The HTTP client of storage servers and registries, on urllib3: kept connections, proxies, TLS, redirects.

A failure raises one of NETWORK_ERRORS, the error of the socket, of TLS or of the protocol itself; retries are
up to the caller (`containers.patience`). Import this module only where requests are sent: unless boto3 has
already loaded urllib3, the import takes longer than the rest of the runner.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import logging
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, cast
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError

from containers.patience import ReceivingPace

NETWORK_ERRORS = (OSError, http.client.HTTPException)
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PIECE_BYTES = 256 << 10
"""The most that is read or sent at a time."""
Body = bytes | bytearray | IO[bytes] | None
_MAXIMUM_REDIRECTS = 5
_MAXIMUM_REDIRECT_BODY = 64 << 10
_KEPT_CONNECTIONS = 8  # for each server: as many as are in use at once

# Stops a server whose headers cannot be parsed from writing into our log, next to a URL that may be signed.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class Response:
    """The answer from `url`, with its body unread and not decompressed."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, url: str) -> None:
        self._raw = raw
        self.url = url
        self.status = raw.status
        self.headers = raw.headers
        self.length = raw.length_remaining
        """Bytes of the body; None if the server does not send the length."""

    def read(self, size: int, pace: ReceivingPace | None = None) -> bytes:
        """`size` bytes, less only at the end."""
        parts: list[bytes] = []
        left = size
        while left > 0:
            wanted = min(left, PIECE_BYTES)
            part = self.read1(wanted) if pace is None else pace.read(self.read1, wanted)
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def read1(self, size: int) -> bytes:
        """The available bytes, at most `size`; `b""` at the end of a complete body."""
        # Not `read`: http.client reads everything, however much, after a chunk of negative length.
        with _plain_errors():
            return self._raw.read1(size)

    def read_rest(self, limit: int) -> bytes:
        """At most `limit` bytes of the body, possibly fewer; closes the connection."""
        try:
            return self.read(limit)
        except NETWORK_ERRORS:
            return b""
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection, or return it to the pool if the body was read to its end."""
        if self._raw.length_remaining == 0:
            self._raw.drain_conn()
        self._raw.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class HttpClient:
    """A pool of connections, safe for threads, that follows the environment's proxy settings.

    `timeout_s` is for connecting and for each read and write. `plain_by_proxy`: requests over plain HTTP use
    the proxy too, which then sees all of them.
    """

    def __init__(self, timeout_s: float, *, plain_by_proxy: bool) -> None:
        self._proxies = getproxies()
        self._plain_by_proxy = plain_by_proxy
        self._options: dict[str, Any] = {
            "maxsize": _KEPT_CONNECTIONS,
            "timeout": timeout_s,
            "blocksize": PIECE_BYTES,
        }
        self._direct = urllib3.PoolManager(**self._options)
        self._by_proxy: dict[str, urllib3.ProxyManager] = {}

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        *,
        secrets: Mapping[str, str],
        redirected: Callable[[Response, str], str],
    ) -> Response:
        """The response of any status, after redirects. Raises one of NETWORK_ERRORS.

        `secrets` are headers for the origin of `url` only. `redirected(response, location)` returns the URL
        to follow, or raises an error. After too many redirects, the last one is returned.
        """
        home = urlsplit(url)
        for redirects in range(_MAXIMUM_REDIRECTS + 1):
            here = urlsplit(url)
            # A redirect must not send credentials to another server.
            at_home = (here.scheme, here.netloc) == (home.scheme, home.netloc)
            response = self._send(method, url, {**headers, **secrets} if at_home else headers, body)
            location = response.headers.get("Location")
            if response.status not in REDIRECTS or not location or redirects == _MAXIMUM_REDIRECTS:
                break
            response.read_rest(_MAXIMUM_REDIRECT_BODY)
            url = redirected(response, location)
        return response

    def close(self) -> None:
        """Close idle connections now, and those in use when they are returned."""
        for manager in (self._direct, *self._by_proxy.values()):
            manager.clear()

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Body) -> Response:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise http.client.InvalidURL(f"{error}") from error
        if not host or parts.scheme not in ("http", "https"):
            raise http.client.InvalidURL(f"not a URL of a server: {url[:200]!r}")
        proxy = self._proxy(parts)
        options: dict[str, Any] = {}
        target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        headers = {"User-Agent": "scar-cdk", **headers}
        if parts.scheme == "https":
            options = {"ssl_context": _tls(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))}
        elif proxy:
            target = url.partition("#")[0]
            headers |= proxy.proxy_headers
        while True:
            with _plain_errors():
                # From the host that was checked: urllib3 parses URLs in another way.
                pool = (proxy or self._direct).connection_from_host(host, port, parts.scheme, options)
                connections = pool.num_connections
                try:
                    raw = pool.urlopen(
                        method,
                        target,
                        cast(Any, body),  # typeshed knows of no bytearray
                        headers,
                        retries=False,
                        redirect=False,
                        assert_same_host=False,
                        preload_content=False,
                        decode_content=False,
                    )
                    return Response(raw, url)
                except urllib3.exceptions.ProtocolError:
                    # A server may close an idle connection whenever it likes. Without a new connection in
                    # the meantime, this was such a one, and what only reads is sent again.
                    if method not in ("GET", "HEAD") or pool.num_connections != connections:
                        raise

    def _proxy(self, parts: SplitResult) -> urllib3.ProxyManager | None:
        address = self._proxies.get(parts.scheme) or self._proxies.get("all")
        if not address or (parts.scheme == "http" and not self._plain_by_proxy):
            return None
        if proxy_bypass(parts.netloc.rpartition("@")[2]):
            return None
        if address not in self._by_proxy:
            try:
                there = urlsplit(address if "://" in address else f"http://{address}")
                login = basic_authorization(unquote(there.username or ""), unquote(there.password or ""))
                self._by_proxy[address] = urllib3.ProxyManager(
                    f"{there.scheme}://{there.netloc.rpartition('@')[2]}",
                    proxy_headers={"Proxy-Authorization": login} if there.username else {},
                    **self._options,
                )
            except (ValueError, HTTPError, AssertionError) as error:
                raise http.client.InvalidURL(f"the value of {parts.scheme}_proxy is invalid") from error
        return self._by_proxy[address]


def basic_authorization(login: str, password: str) -> str:
    """The value of an Authorization header (RFC 7617, in UTF-8)."""
    return "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Raise the error of the socket, of TLS or of http.client in place of urllib3's."""
    try:
        yield
    except (HTTPError, UnicodeError) as error:
        found: BaseException | None = error
        while found is not None and not isinstance(found, NETWORK_ERRORS):
            found = found.__cause__ or found.__context__
        raise (found or ConnectionError(str(error))) from None


@functools.cache
def _tls(_certificate_file: str | None, _certificate_folder: str | None) -> ssl.SSLContext:
    """The certificates that the environment configures: loading them takes 20 ms."""
    return ssl.create_default_context()
