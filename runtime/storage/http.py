"""HTTP to a file server: streams in both directions, with retries, and with strict rules for where
credentials are sent.

- Bodies are read and written in pieces; connections are reused (`containers.http_client`).
- Connection errors, 429 and 5xx are retried with increasing delays, or the delay in `Retry-After`.
- TLS certificates are checked. Only `http` and `https` are supported, and `http` only if the address in the
  FDL file starts with it. `HTTPS_PROXY` and `NO_PROXY` of the environment are honoured for https.
- A redirect of a read-only request is followed on the same server (scheme, host, port). Any other redirect
  fails: it could send credentials or data to a server that the answer names, or reach services of this
  machine.
"""

from __future__ import annotations

import errno
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, TypeVar
from urllib.parse import urljoin, urlsplit

from containers.errors import ErrorKind, ExplainedError
from containers.http_client import NETWORK_ERRORS, PIECE_BYTES, REDIRECTS, HttpClient, Response
from containers.patience import ServerPatience
from runtime.storage.address import ServerAddress
from runtime.storage.contract import CredentialsRefusedError

Result = TypeVar("Result")

PATIENCE = ServerPatience(timeout_s=60.0, attempts=5, first_pause_s=0.25, longest_pause_s=10.0)
MAXIMUM_ANSWER = 64 * 1024
WORTH_RETRYING = frozenset({408, 423, 425, 429, 500, 502, 503, 504, 509})
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_LARGE, NO_SPACE = 401, 403, 404, 413, 507
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """The answer of a server, with the start of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    detail: str = ""
    """The server's own explanation of the status, for messages."""

    @property
    def said(self) -> str:
        """For messages."""
        return f"HTTP {self.status}" + (f", {self.detail}" if self.detail else "")

    @property
    def ok(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004


class StumbledError(Exception):
    """A temporary failure of the server, worth a retry."""

    def __init__(self, reason: str, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class HttpServer:
    """One server and the credentials for it.

    `name` is the provider's, for messages; `understand` sets an answer's status and detail from the body, as
    servers of that kind send it."""

    def __init__(
        self,
        name: str,
        address: ServerAddress,
        headers: Mapping[str, str],
        understand: Callable[[ServerAnswer], ServerAnswer] = lambda answer: answer,
    ) -> None:
        self.name = name
        self.address = address
        self._headers = dict(headers)
        self._understand = understand
        self._client = HttpClient(PATIENCE.timeout_s, plain_by_proxy=False)

    def __str__(self) -> str:
        """For messages."""
        return f"{self.name} ({self.address.origin})"

    def persistently(self, work: Callable[[], Result], failure: Callable[[str], ExplainedError]) -> Result:
        """The result of `work`, retried while it raises `StumbledError` or a network error.

        After the last attempt, raises what `failure` returns for the reason.
        """
        for attempt in range(1, PATIENCE.attempts + 1):
            retry_after = None
            try:
                return work()
            except ssl.SSLCertVerificationError as error:
                raise ExplainedError(
                    f"{self} presents an untrusted certificate: {error.verify_message}",
                    advice="Use the host name in the certificate. For a private certificate authority, set "
                    "SSL_CERT_FILE.",
                    kind=ErrorKind.STORAGE_REFUSED,
                ) from None
            except StumbledError as error:
                reason, retry_after = str(error), error.retry_after
            except NETWORK_ERRORS as error:
                if getattr(error, "errno", None) in _OF_THE_DISK:
                    raise  # the local file fails, not the server
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            if PATIENCE.is_over(attempt):
                break
            time.sleep(PATIENCE.pause_s(attempt, retry_after))
        raise failure(f"{self}: {reason}")

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> ServerAnswer:
        """Send one request. A status that is worth a retry raises `StumbledError`, any other is an answer."""
        with self._response(method, path, headers or {}, body) as response:
            return self._answer(method, response)

    def send(self, path: str, file: BinaryIO, size: int, headers: Mapping[str, str]) -> ServerAnswer:
        """PUT all of `file`, which has `size` bytes; otherwise as `ask`."""
        with self._response("PUT", path, {**headers, "Content-Length": str(size)}, file) as response:
            return self._answer("PUT", response)

    def fetch(self, path: str, target: BinaryIO, on_size: Callable[[int], None]) -> ServerAnswer:
        """GET into `target`; on success the answer's body is empty, and nothing was written otherwise."""
        with self._response("GET", path, {}, None) as response:
            if not 200 <= response.status < 300:  # noqa: PLR2004
                return self._answer("GET", response)
            if response.length is not None:
                on_size(response.length)
            written = 0
            while piece := response.read1(PIECE_BYTES):
                written += target.write(piece)
            if response.length is None:
                on_size(written)
            return self._answer("GET", response)

    def close(self) -> None:
        """Close the open connections."""
        self._client.close()

    def refusal(self, answer: ServerAnswer, what: str) -> ExplainedError | None:
        """The error for a status that means the same for every request; None: it has no such meaning."""
        if answer.status == UNAUTHORIZED:
            return CredentialsRefusedError(
                f"{self} rejected the credentials ({answer.said}) for {what}",
                advice=f"Correct those of {self.name} in `storage_providers`, or its secret.",
            )
        if answer.status == FORBIDDEN:
            return CredentialsRefusedError(
                f"{self} denied access ({answer.said}): {what}",
                advice=f"The account of {self.name} needs permission to read and write there.",
            )
        if answer.status in (NO_SPACE, TOO_LARGE):
            return ExplainedError(
                f"{self} has no space left ({answer.said}) for {what}",
                advice="Free some space there, or raise the quota.",
                kind=ErrorKind.STORAGE_FULL,
            )
        return None

    def _answer(self, method: str, response: Response) -> ServerAnswer:
        headers = {name.lower(): value for name, value in response.headers.items()}
        answer = self._understand(ServerAnswer(response.status, headers, response.read(MAXIMUM_ANSWER)))
        if answer.status in WORTH_RETRYING:
            raise StumbledError(f"{answer.said} to a {method}", headers.get("retry-after"))
        return answer

    def _response(
        self, method: str, path: str, headers: Mapping[str, str], body: BinaryIO | bytes | None
    ) -> Response:
        """The response after redirects, still unread."""

        def redirected(response: Response, location: str) -> str:
            return self._redirected(method, response, location)

        response = self._client.request(
            method, self.address.origin + path, headers, body, secrets=self._headers, redirected=redirected
        )
        if response.status in REDIRECTS and "Location" in response.headers:
            response.close()
            raise ExplainedError(f"{self} redirects in a loop", kind=ErrorKind.STORAGE_REFUSED)
        return response

    def _redirected(self, method: str, response: Response, location: str) -> str:
        """The URL to follow, on the same server. Raises ExplainedError for any other."""
        here = self.address
        try:
            there = urlsplit(urljoin(response.url, location))
            port = there.port or (443 if there.scheme == "https" else 80)
        except ValueError:
            there, port = urlsplit(""), 0
        # Prevents a server from redirecting credentials elsewhere, or requests to services of this machine.
        if (there.scheme, there.hostname, port) != (here.scheme, here.host, here.port):
            # Only the origin is shown: the rest may be a signed URL.
            place = ascii(f"{there.scheme}://{there.netloc.rpartition('@')[2]}")
            raise ExplainedError(
                f"{self} redirects to another server, {place}; credentials are not sent there",
                advice=f"If that server is the right one, name it in `storage_providers` as {self.name}.",
                kind=ErrorKind.STORAGE_REFUSED,
            )
        if method not in ("GET", "PROPFIND"):
            raise ExplainedError(
                f"{self} redirects a {method} to another path (HTTP {response.status})",
                advice="Set the path of its files, as given in its documentation.",
                kind=ErrorKind.STORAGE_REFUSED,
            )
        return here.origin + there.path + (f"?{there.query}" if there.query else "")
