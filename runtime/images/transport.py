"""HTTP as a registry client needs it: patient with servers that stumble, strict with where secrets go.

Connection errors, 5xx and 429 are tried again with a growing pause, or the one that `Retry-After` asks for.
Redirects (blobs usually lie on a CDN) are followed without the Authorization header, never from HTTPS to
plain HTTP, and to no other scheme. Proxies come from the environment, as urllib reads it.
"""

from __future__ import annotations

import email.utils
import functools
import http.client
import random
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, cast

from runtime.errors import RunnerError

_MAXIMUM_ERROR_BODY = 64 * 1024
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
NETWORK_ERRORS = (OSError, http.client.HTTPException)


class HttpStatusError(Exception):
    """The server answered with an error that trying again does not heal."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes, url: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers
        self.body = body
        self.url = url


@dataclass(frozen=True)
class Patience:
    """How long to bear with a server: seconds per network operation, attempts, pauses between them."""

    timeout_s: float = 30.0
    attempts: int = 5
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0

    def pause_s(self, failures: int, retry_after: str | None = None) -> float:
        """Seconds to wait after so many failures; `Retry-After` counts if it is bearable."""
        asked = _retry_after_s(retry_after)
        if asked is not None:
            return min(asked, self.longest_pause_s)
        # Full jitter, so that the many environments of a burst do not come back in step.
        ceiling: float = min(self.longest_pause_s, self.first_pause_s * 2**failures)
        return ceiling * (0.5 + random.random() / 2)  # noqa: S311 - not for secrets


DEFAULT_PATIENCE = Patience()


class Transport:
    """Opens URLs with GET; `server` names the other side in messages."""

    def __init__(self, server: str, patience: Patience | None = None) -> None:
        self.patience = patience or DEFAULT_PATIENCE
        self._server = server
        self._opener = urllib.request.OpenerDirector()
        for handler in (  # no file:, ftp: or data: handler: a redirect must not reach them
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            _Https(),
            _Redirects(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
        ):
            self._opener.add_handler(handler)

    def open(
        self, url: str, headers: Mapping[str, str], authorization: str | None
    ) -> http.client.HTTPResponse:
        """The response (2xx) for `url`.

        Raises HttpStatusError for an error to be explained by the caller, RunnerError (kinds
        `RegistryUnavailable`, `PullLimit`) when the server cannot be reached or does not recover.
        """
        failures = 0
        while True:
            request = urllib.request.Request(url, headers={"User-Agent": "scar-cdk", **headers})  # noqa: S310
            if authorization:
                # "Unredirected": urllib does not carry it to the server that a redirect names.
                request.add_unredirected_header("Authorization", authorization)
            retry_after = None
            try:
                return cast(
                    "http.client.HTTPResponse", self._opener.open(request, timeout=self.patience.timeout_s)
                )
            except urllib.error.HTTPError as error:
                retry_after = error.headers.get("Retry-After")
                problem = _status_error(error)
                if problem.status not in _RETRIED:
                    raise problem from None
                failure = self._gave_up(problem)
            except NETWORK_ERRORS as error:
                reason = getattr(error, "reason", error)
                if isinstance(reason, socket.gaierror) and reason.errno != socket.EAI_AGAIN:
                    raise self._unreachable(reason) from error  # the name is wrong, and stays so
                if isinstance(reason, ssl.SSLCertVerificationError):
                    raise self._bad_certificate(reason) from error
                failure = self._unreachable(reason)
            failures += 1
            asked = _retry_after_s(retry_after)
            too_long = asked is not None and asked > self.patience.longest_pause_s
            if failures >= self.patience.attempts or too_long:
                raise failure
            time.sleep(self.patience.pause_s(failures, retry_after))

    def _gave_up(self, problem: HttpStatusError) -> RunnerError:
        if problem.status == 429:  # noqa: PLR2004
            return RunnerError(
                f"{self._server} limits how often images may be pulled, and the limit is reached (HTTP 429)",
                advice="Wait, use a mirror (-c registry_mirrors=...), or use container.image_file",
                kind="PullLimit",
            )
        return RunnerError(
            f"{self._server} keeps answering HTTP {problem.status}",
            advice="The registry has a problem; try again later or use a mirror (-c registry_mirrors=...)",
            kind="RegistryUnavailable",
        )

    def _unreachable(self, reason: object) -> RunnerError:
        text = str(getattr(reason, "strerror", None) or reason or type(reason).__name__)
        return RunnerError(
            f"{self._server} cannot be reached: {text}",
            advice="Check its name, the network (a function in a VPC needs a way out) and the proxy settings",
            kind="RegistryUnavailable",
        )

    def _bad_certificate(self, error: ssl.SSLCertVerificationError) -> RunnerError:
        return RunnerError(
            f"{self._server} shows a certificate that is not trusted: {error.verify_message}",
            advice="Use the registry's proper name; a private authority is made known by SSL_CERT_FILE",
            kind="RegistryUnavailable",
        )


class _Https(urllib.request.AbstractHTTPHandler):
    """urllib's HTTPSHandler, which loads all certificates of the machine (20 ms) only when there is need."""

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        """The response to a request over TLS."""
        return self.do_open(http.client.HTTPSConnection, request, context=_tls())

    https_request = urllib.request.AbstractHTTPHandler.do_request_


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; keeps the Authorization header only on the very same server."""

    max_redirections = 5

    def redirect_request(  # noqa: PLR0917 - urllib calls it so
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request to follow with, or HTTPError for a redirect that must not be followed."""
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        # A registry reached over TLS must not send us to where anyone can listen, nor to this machine's own
        # services.
        if new.scheme != "https" and not (new.scheme == "http" and old.scheme == "http"):
            raise urllib.error.HTTPError(newurl, code, "redirect to an insecure place refused", headers, fp)
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        authorization = req.unredirected_hdrs.get("Authorization")
        if request is not None and authorization and (old.scheme, old.netloc) == (new.scheme, new.netloc):
            request.add_unredirected_header("Authorization", authorization)
        return request


def _status_error(error: urllib.error.HTTPError) -> HttpStatusError:
    try:
        body = error.read(_MAXIMUM_ERROR_BODY)
    except NETWORK_ERRORS:
        body = b""
    error.close()
    return HttpStatusError(error.code, cast("http.client.HTTPMessage", error.headers), body, error.url or "")


def _retry_after_s(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110: seconds, or a date)."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
