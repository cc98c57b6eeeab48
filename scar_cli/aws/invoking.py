"""Lambda's Invoke over persistent connections, for so many calls that boto3 would be too slow.

boto3 takes one to two milliseconds of processor time for a call. Region, endpoint, proxy, certificates and
credentials are those of boto3's session.
https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from scar_cli.aws.session import LOOPBACK, botocore_session, explain
from scar_cli.aws.signing import Signer
from scar_cli.errors import UserError
from scar_cli.table import printable

_CONNECT_WITHIN_S = 10.0
_AGENT = "User-Agent: scar-launch"
"""Not signed: a proxy may change it."""
_ANSWER_LIMIT = 8 * 1024**2
"""Lambda's responses have at most 6 MB."""
_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
"""Errors of a connection that the server has closed while it was idle."""


@dataclass(frozen=True)
class LambdaAnswer:
    """Lambda's response to one call."""

    status: int
    code: str = ""
    """The code of an error, such as `TooManyRequestsException`; empty if the call was accepted."""
    message: str = ""
    """The message of the error."""
    payload: bytes = b""
    function_failed: bool = False
    log_tail: str = ""
    """The last 4 KB of the run's log, if requested."""
    retry_after_s: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether the event was queued, or the function has run."""
        return self.status in (200, 202)


@dataclass(frozen=True)
class LambdaEndpoint:
    """Lambda's endpoint in a region, and the signer for calls to it."""

    url: str
    signer: Signer
    ca_bundle: str | None = None

    @classmethod
    def of(cls, lambda_: Any) -> LambdaEndpoint:
        """The endpoint of a boto3 client of `client()`."""
        from botocore.httpsession import where

        session = botocore_session()
        bundle = session.get_config_variable("ca_bundle") or where()
        signer = Signer(session.get_credentials(), lambda_.meta.region_name, "lambda")
        return cls(lambda_.meta.endpoint_url, signer, str(bundle))

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Shared by all connections: reading the certificates takes as long as many calls."""
        return ssl.create_default_context(cafile=self.ca_bundle)


class LambdaConnection:
    """One connection, opened when it is needed. Not thread-safe."""

    def __init__(self, endpoint: LambdaEndpoint, answer_within_s: float) -> None:
        self._endpoint = endpoint
        self._answer_within_s = answer_within_s
        self._address = urlsplit(endpoint.url)
        self._proxy = _proxy_of(self._address)
        self._connection: http.client.HTTPConnection | None = None
        self.may_have_arrived = False
        """Whether the latest call has sent its request."""

    def send_event(
        self, function: str, event: bytes, lost: Callable[[], None] = lambda: None
    ) -> LambdaAnswer:
        """Queue an event. `lost()` is called before the event is sent again because the response was lost.

        Raises:
            OSError, http.client.HTTPException: no response; the event may or may not have been queued.
            UserError: the credentials have expired, or the certificate of the server is invalid.
        """
        is_fresh = self._connection is None
        try:
            return self._call(function, event, {"X-Amz-Invocation-Type": "Event"})
        except _STALE:
            if is_fresh:
                raise
        lost()
        return self._call(function, event, {"X-Amz-Invocation-Type": "Event"})

    def run(self, function: str, event: bytes) -> LambdaAnswer:
        """Run the function on an event and wait until it has ended.

        Raises:
            OSError, http.client.HTTPException: no response; the function may or may not have run.
            UserError: the credentials have expired, or the certificate of the server is invalid.
        """
        return self._call(
            function, event, {"X-Amz-Invocation-Type": "RequestResponse", "X-Amz-Log-Type": "Tail"}
        )

    def close(self) -> None:
        """Close the connection. The next call opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _call(self, function: str, event: bytes, headers: dict[str, str]) -> LambdaAnswer:
        path = f"{self._address.path.rstrip('/')}/2015-03-31/functions/{function}/invocations"
        try:
            signed = self._endpoint.signer.sign(
                "POST", path, {"Host": self._address.netloc, **headers}, event
            )
        except Exception as error:  # credentials that cannot be refreshed
            raise explain(error) or error from error
        self.may_have_arrived = False
        if self._connection is not None and _is_readable(self._connection.sock):
            self.close()  # the server has closed it while it was idle: no request is lost
        try:
            if self._connection is None:
                self._connection = self._opened()
            target = path
            if self._proxy is not None and self._address.scheme == "http":
                target = f"{self._address.scheme}://{self._address.netloc}{path}"
                signed |= _authorization(self._proxy)
            # In one system call: http.client would use one each for the headers and the body.
            lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in signed.items())]
            head = "\r\n".join([*lines, _AGENT, f"Content-Length: {len(event)}", "", ""])
            self.may_have_arrived = True
            self._connection.sock.sendall(head.encode() + event)
            response = http.client.HTTPResponse(self._connection.sock, method="POST")
            response.begin()
            payload = response.read(_ANSWER_LIMIT)
            if response.will_close or not response.isclosed():
                self.close()
        except BaseException:
            self.close()
            raise
        return _read(response, payload)

    def _opened(self) -> http.client.HTTPConnection:
        near = self._proxy or self._address
        host, port = near.hostname or "", near.port or (443 if near.scheme == "https" else 80)
        connection: http.client.HTTPConnection
        if self._address.scheme == "https":
            connection = http.client.HTTPSConnection(
                host, port, timeout=_CONNECT_WITHIN_S, context=self._endpoint.tls
            )
            if self._proxy is not None:
                own = self._address
                connection.set_tunnel(own.hostname or "", own.port or 443, _authorization(self._proxy))
        else:
            connection = http.client.HTTPConnection(host, port, timeout=_CONNECT_WITHIN_S)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise UserError(
                f"The certificate of {self._endpoint.url} is invalid: {error.verify_message}",
                "If your network uses a proxy, set AWS_CA_BUNDLE to its certificates",
            ) from error
        # A run takes up to 15 minutes, and routers drop idle connections.
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.sock.settimeout(self._answer_within_s)
        return connection


def _is_readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _read(response: http.client.HTTPResponse, payload: bytes) -> LambdaAnswer:
    if response.status in (200, 202):
        return LambdaAnswer(
            response.status,
            payload=payload,
            function_failed=response.getheader("X-Amz-Function-Error") is not None,
            log_tail=_decoded(response.getheader("X-Amz-Log-Result", "")),
        )
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        told = {}
    if not isinstance(told, dict):
        told = {}
    code = response.getheader("x-amzn-ErrorType") or told.get("__type") or told.get("code") or ""
    message = told.get("message") or told.get("Message") or response.reason
    try:
        retry_after = float(response.getheader("Retry-After", "0"))
    except ValueError:  # a date
        retry_after = 0.0
    return LambdaAnswer(
        response.status,
        code=printable(str(code)[:200]).partition(":")[0].rpartition("#")[2],
        message=printable(str(message)[:2000]),
        retry_after_s=max(0.0, retry_after),
    )


def _decoded(tail: str) -> str:
    try:
        return base64.b64decode(tail).decode(errors="replace")
    except (ValueError, binascii.Error):
        return ""


def _proxy_of(address: SplitResult) -> SplitResult | None:
    host = address.hostname or ""
    proxy = getproxies().get(address.scheme)
    if not proxy or host in LOOPBACK or proxy_bypass(host):
        return None
    return urlsplit(proxy if "://" in proxy else f"http://{proxy}")


def _authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
