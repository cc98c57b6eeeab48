"""Connections to one server that are kept and used again: as many as threads are at work.

TLS certificates are checked. `HTTPS_PROXY` and `NO_PROXY` of the environment are honoured for https.
"""

from __future__ import annotations

import base64
import http.client
import select
import ssl
import threading
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from runtime.storage.address import ServerAddress

PIECE = 256 * 1024
"""Bytes that are held at a time."""
TIMEOUT_S = 60
"""Of connecting, and of each read and write."""


class ServerConnections:
    """A pool; safe for threads."""

    def __init__(self, address: ServerAddress) -> None:
        self._address = address
        self._tls = ssl.create_default_context() if address.scheme == "https" else None
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def take(self) -> http.client.HTTPConnection:
        """One that was kept and is still open, or a new one, which connects when it is used."""
        with self._lock:
            while self._idle:
                kept = self._idle.pop()
                if _still_open(kept):
                    return kept
                kept.close()
        host, port = self._address.host, self._address.port
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S, blocksize=PIECE)
        proxy = urlsplit(getproxies().get("https", ""))
        if proxy.hostname is None or proxy_bypass(host):
            return http.client.HTTPSConnection(
                host, port, timeout=TIMEOUT_S, blocksize=PIECE, context=self._tls
            )
        connection = http.client.HTTPSConnection(
            proxy.hostname, proxy.port or 80, timeout=TIMEOUT_S, blocksize=PIECE, context=self._tls
        )
        headers = {}
        if proxy.username:
            headers["Proxy-Authorization"] = basic(unquote(proxy.username), unquote(proxy.password or ""))
        connection.set_tunnel(host, port, headers)
        return connection

    def give_back(self, connection: http.client.HTTPConnection) -> None:
        """Keep one whose last answer was read to its end."""
        with self._lock:
            self._idle.append(connection)

    def close(self) -> None:
        """End those that are kept."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def basic(login: str, password: str) -> str:
    """The value of an Authorization header (RFC 7617, in UTF-8)."""
    return "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()


def _still_open(connection: http.client.HTTPConnection) -> bool:
    """A server that has closed a kept connection makes it readable."""
    if connection.sock is None:
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)
