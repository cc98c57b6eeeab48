"""HTTP for a registry client: with retries, and strict rules for where secrets are sent.

Connection errors, 5xx and 429 are retried with increasing delays, or the delay in `Retry-After`. Redirects
(blobs are usually on a CDN) are followed without the Authorization header, never from HTTPS to plain HTTP,
and never to another scheme.
"""

from __future__ import annotations

import socket
import ssl
import string
import time
import urllib.parse
from collections.abc import Mapping

from urllib3 import HTTPHeaderDict

from containers.asking import asker
from containers.errors import ErrorKind, ExplainedError
from containers.http_client import NETWORK_ERRORS, REDIRECTS, Body, HttpClient, Response
from containers.patience import ServerPatience
from containers.registry.token_server import is_internal

_MAXIMUM_ERROR_BODY = 64 * 1024
_ERRORS_FROM = 400
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""Status codes that may pass by themselves."""


class HttpStatusError(Exception):
    """The server answered with an error that trying again does not heal."""

    def __init__(self, status: int, headers: HTTPHeaderDict, body: bytes, url: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers
        self.body = body
        self.url = url


class Transport:
    """Opens URLs; `server` names the other side in messages."""

    def __init__(self, server: str, patience: ServerPatience | None = None) -> None:
        self.patience = patience or ServerPatience()
        self._server = server
        self._client = HttpClient(self.patience.timeout_s, plain_by_proxy=True)

    def close(self) -> None:
        """Close unused connections."""
        self._client.close()

    def open(
        self, url: str, headers: Mapping[str, str], login: str | None, method: str = "GET", body: Body = None
    ) -> Response:
        """The response (2xx) for `url`; `login` is the value of an Authorization header.

        Raises HttpStatusError for an error to be explained by the caller, ExplainedError (kinds
        `RegistryUnavailable`, `PullLimit`) when the server cannot be reached or does not recover.
        """
        failures = 0
        while True:
            retry_after = None
            try:
                return self.open_once(url, headers, login, method, body)
            except HttpStatusError as problem:
                retry_after = problem.headers.get("Retry-After")
                if problem.status not in RETRIED:
                    raise
                failure = self._gave_up(problem)
            except NETWORK_ERRORS as error:
                if isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:
                    raise self._unreachable(error) from error  # the name is wrong, and stays so
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise self._bad_certificate(error) from error
                failure = self._unreachable(error)
            failures += 1
            if self.patience.is_over(failures, retry_after):
                raise failure
            time.sleep(self.patience.pause_s(failures, retry_after))

    def open_once(
        self, url: str, headers: Mapping[str, str], login: str | None, method: str = "GET", body: Body = None
    ) -> Response:
        """The response (2xx) after all redirects, without retries; `login` is sent only to the first server.
        Raises HttpStatusError or one of NETWORK_ERRORS."""
        secrets = {"Authorization": login} if login else {}
        response = self._client.request(method, url, headers, body, secrets=secrets, redirected=_redirected)
        if response.status >= _ERRORS_FROM or response.status in REDIRECTS:
            content = response.read_rest(_MAXIMUM_ERROR_BODY)
            raise HttpStatusError(response.status, response.headers, content, response.url)
        return response

    def _gave_up(self, problem: HttpStatusError) -> ExplainedError:
        if problem.status == 429:  # noqa: PLR2004
            return ExplainedError(
                f"{self._server} limits how often images may be pulled, and the limit is reached (HTTP 429)",
                advice="Wait, use a mirror (-c registry_mirrors=...), or use container.image_file",
                kind=ErrorKind.PULL_LIMIT,
            )
        return ExplainedError(
            f"{self._server} keeps answering HTTP {problem.status}",
            advice="The registry has a problem; try again later or use a mirror (-c registry_mirrors=...)",
            kind=ErrorKind.REGISTRY_UNAVAILABLE,
        )

    def _unreachable(self, reason: object) -> ExplainedError:
        text = str(getattr(reason, "strerror", None) or reason or type(reason).__name__)
        return ExplainedError(
            f"{self._server} cannot be reached: {text}",
            advice=f"Check its name, the network ({asker().network}) and the proxy settings. Without access "
            "to the registry, use container.image_file, or a mirror (-c registry_mirrors=...)",
            kind=ErrorKind.REGISTRY_UNAVAILABLE,
        )

    def _bad_certificate(self, error: ssl.SSLCertVerificationError) -> ExplainedError:
        return ExplainedError(
            f"{self._server} presents an untrusted certificate: {error.verify_message}",
            advice="Use the host name in the certificate. For a private certificate authority, set "
            "SSL_CERT_FILE",
            kind=ErrorKind.REGISTRY_UNAVAILABLE,
        )


def _redirected(response: Response, location: str) -> str:
    """Where `location` leads, or HttpStatusError for a redirect that must not be followed."""
    try:
        # Servers send unquoted spaces and non-ASCII characters (as bytes).
        target = urllib.parse.quote(
            urllib.parse.urljoin(response.url, location),
            encoding="latin-1",
            errors="replace",
            safe=string.punctuation,
        )
        old, new = urllib.parse.urlsplit(response.url), urllib.parse.urlsplit(target)
    except ValueError:
        raise HttpStatusError(response.status, response.headers, b"", response.url) from None
    # A registry over TLS must not redirect to unencrypted servers, and a remote one not to plain HTTP
    # services of this machine or its network (169.254.169.254).
    inside = is_internal(new.hostname or "") and not is_internal(old.hostname or "")
    if new.scheme != "https" and not (new.scheme == "http" and old.scheme == "http" and not inside):
        raise HttpStatusError(response.status, response.headers, b"", target)
    return target
