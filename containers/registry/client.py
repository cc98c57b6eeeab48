"""A repository in a registry, with the OCI distribution protocol and its predecessor, Docker's v2.

A registry that requires a login answers 401 with the method (`WWW-Authenticate`): `Bearer` sends the client
to a token server, which also issues anonymous tokens (as Docker Hub does); `Basic` requires a name and
password. Manifests are read completely (they are small and bounded), blobs are streamed; if a connection
breaks in the middle of a blob, the download continues there, with Range.
"""

from __future__ import annotations

import re
import time
import urllib.parse
from collections.abc import Callable, Mapping

from urllib3 import HTTPHeaderDict

from containers.asking import asker
from containers.bounded_json import read_json
from containers.errors import ErrorKind, ExplainedError
from containers.http_client import NETWORK_ERRORS, Response, basic_authorization
from containers.image.manifests import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAXIMUM_DOCUMENT_BYTES,
    Descriptor,
    broken,
    is_digest,
)
from containers.image.origin import ByteStream, VerifiedStream
from containers.patience import ReceivingPace, ServerPatience
from containers.registry.resuming import Opened, ResumingStream
from containers.registry.token_server import check_token_server
from containers.registry.transport import HttpStatusError, Transport

Credentials = Callable[[str], tuple[str, str] | None]
"""Name and password for a registry host, or None for anonymous access."""

_ACCEPT = {
    "Accept": ", ".join(
        (*MANIFEST_TYPES, *INDEX_TYPES, "application/vnd.docker.distribution.manifest.v1+json")
    )
}
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _PARTIAL, _PAST_THE_END = 401, 403, 404, 206, 416
_CHALLENGE_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


class RegistryRepository:
    """`repository` in the registry at `origin` (`https://host[:port]`); `what` names the image in
    messages."""

    def __init__(
        self,
        origin: str,
        repository: str,
        what: str,
        *,
        credentials: Credentials | None = None,
        patience: ServerPatience | None = None,
    ) -> None:
        self._origin = origin
        self._host = urllib.parse.urlsplit(origin).netloc
        self._repository = repository
        self._what = what
        self._credentials = credentials or (lambda _host: None)
        self._transport = Transport(f"registry {self._host}", patience)
        self._authorization: str | None = None
        self._logged_in = False

    def read_manifest(self, version: str) -> tuple[bytes, str]:
        """The manifest for a tag or digest, and its media type according to the registry."""
        content, headers = self._read_document(
            lambda: self._get(f"manifests/{version}", _ACCEPT, self._no_such_image)
        )
        return content, headers.get("Content-Type", "")

    def read_digest(self, version: str) -> str | None:
        """The digest of a tag; None if the registry does not send it. Uses HEAD, which Docker Hub does not
        count as a pull."""
        with self._get(f"manifests/{version}", _ACCEPT, self._no_such_image, "HEAD") as response:
            digest = response.headers.get("Docker-Content-Digest", "")
            return digest if is_digest(digest) else None

    def open_blob(self, descriptor: Descriptor) -> ByteStream:
        """The blob's bytes, checked at their end."""
        digest = descriptor.digest
        blob = ResumingStream(
            lambda position: self._open_blob_at(digest, position),
            descriptor.size,
            self._transport.patience,
            NETWORK_ERRORS,
            lambda error: _connection_lost(self._host, error),
        )
        return VerifiedStream(blob, descriptor, f"a part of {self._what} from {self._host}")

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _open_blob_at(self, digest: str, position: int) -> Opened:
        """A blob from byte `position` on."""
        headers = {"Range": f"bytes={position}-"} if position else {}
        response = self._get(f"blobs/{digest}", headers, self._no_such_blob)
        try:
            if position and response.status == _PARTIAL:
                content_range = response.headers.get("Content-Range", "")
                if not content_range.startswith(f"bytes {position}-"):
                    raise ConnectionError(f"requested bytes from {position} on, received '{content_range}'")
            else:
                _skip(response, position)
        except NETWORK_ERRORS:
            response.close()
            raise
        return Opened(response.read1, response.close)

    def _get(
        self,
        path: str,
        headers: Mapping[str, str],
        not_found: Callable[[], ExplainedError],
        method: str = "GET",
    ) -> Response:
        url = f"{self._origin}/v2/{self._repository}/{path}"
        try:
            return self._authorized(lambda login: self._transport.open(url, headers, login, method))
        except HttpStatusError as error:
            raise self._explain(error, not_found) from error

    def _authorized(self, ask: Callable[[str | None], Response]) -> Response:
        """The answer to `ask`, which takes an Authorization header; logs in if the registry requires it."""
        try:
            return ask(self._authorization)
        except HttpStatusError as error:
            # Challenges count only from the registry itself: a CDN behind a redirect gets no token.
            from_registry = urllib.parse.urlsplit(error.url).netloc == self._host
            if error.status != _UNAUTHORIZED or not from_registry:
                raise
            self._authorization = self._authorize(error.headers)
            if self._authorization is None:
                raise
        return ask(self._authorization)

    def _explain(self, error: HttpStatusError, not_found: Callable[[], ExplainedError]) -> ExplainedError:
        if error.status == _NOT_FOUND:
            return not_found()
        if error.status == _PAST_THE_END:
            return ExplainedError(
                f"{self._what} is damaged: a blob ends before the size that its manifest declares",
                advice="Push the image again",
                kind=ErrorKind.DIGEST_MISMATCH,
            )
        if error.status in (_UNAUTHORIZED, _FORBIDDEN) and self._logged_in:
            return ExplainedError(
                f"registry {self._host} denies access to {self._what} with the given credentials "
                f"(HTTP {error.status})" + _server_message(error.body),
                advice="Check container.image, name and password in the secret of "
                f"container.registry_credentials (Amazon ECR: {asker().identity}), and that the account "
                f"may pull it",
                kind=ErrorKind.IMAGE_PRIVATE,
            )
        if error.status in (_UNAUTHORIZED, _FORBIDDEN):
            return ExplainedError(
                f"registry {self._host} denies access to {self._what} (HTTP {error.status}): "
                "it does not exist or is private" + _server_message(error.body),
                advice="Check container.image; a private image needs container.registry_credentials, or "
                "container.image_file",
                kind=ErrorKind.IMAGE_PRIVATE,
            )
        return ExplainedError(
            f"registry {self._host} returned HTTP {error.status} for {self._what}"
            + _server_message(error.body),
            advice="Check the name in container.image and that this host is a container registry",
            kind=ErrorKind.REGISTRY_ERROR,
        )

    def _no_such_image(self) -> ExplainedError:
        return ExplainedError(
            f"{self._what} does not exist in registry {self._host}",
            advice="Check name and tag in container.image, and that the image was pushed",
            kind=ErrorKind.IMAGE_NOT_FOUND,
        )

    def _no_such_blob(self) -> ExplainedError:
        return ExplainedError(
            f"{self._what} is incomplete in registry {self._host}: a blob that its manifest names is missing",
            advice="Push the image again",
            kind=ErrorKind.BAD_IMAGE,
        )

    def _authorize(self, headers: HTTPHeaderDict) -> str | None:
        """The Authorization header for a 401 with these `headers`."""
        login = self._credentials(self._host)
        basic = None
        if login:
            self._logged_in = True
            basic = basic_authorization(*login)
        for challenge in headers.getlist("WWW-Authenticate"):
            scheme, _, rest = challenge.strip().partition(" ")
            if scheme.lower() == "bearer":
                return f"Bearer {self._token(_parameters(rest), basic)}"
            if scheme.lower() == "basic" and basic:
                return basic
        return None

    def _token(self, parameters: Mapping[str, str], basic: str | None) -> str:
        realm = parameters.get("realm", "")
        check_token_server(realm, self._origin, with_login=basic is not None)
        query = {"scope": parameters.get("scope") or f"repository:{self._repository}:pull"}
        if "service" in parameters:
            query["service"] = parameters["service"]
        separator = "&" if urllib.parse.urlsplit(realm).query else "?"
        try:
            url = f"{realm}{separator}{urllib.parse.urlencode(query)}"
            answer = read_json(self._read_document(lambda: self._transport.open(url, {}, basic))[0])
        except HttpStatusError as error:
            raise self._explain(error, self._no_such_image) from error
        except ValueError as error:
            raise broken(f"the token server of registry {self._host} did not return JSON") from error
        token = answer.get("token") or answer.get("access_token") if isinstance(answer, dict) else None
        # A line break in the token would let the server write headers of its own into our requests.
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise broken(f"the token server of registry {self._host} did not return a usable token")
        return token

    def _read_document(self, ask: Callable[[], Response]) -> tuple[bytes, HTTPHeaderDict]:
        """A small answer, completely read; requested again if the connection breaks."""
        failures = 0
        while True:
            with ask() as response:
                try:
                    content = response.read(
                        MAXIMUM_DOCUMENT_BYTES + 1, ReceivingPace(self._transport.patience)
                    )
                    break
                except NETWORK_ERRORS as error:
                    failures += 1
                    if self._transport.patience.is_over(failures):
                        raise _connection_lost(self._host, error) from error
            time.sleep(self._transport.patience.pause_s(failures))
        if len(content) > MAXIMUM_DOCUMENT_BYTES:
            raise broken(f"a response of registry {self._host} is larger than {MAXIMUM_DOCUMENT_BYTES} bytes")
        return content, response.headers


def _skip(response: Response, position: int) -> None:
    """Read up to a position again, if the server ignores Range."""
    while position:
        skipped = response.read1(min(1 << 20, position))
        if not skipped:
            raise ConnectionError("the connection was closed too early")
        position -= len(skipped)


def _connection_lost(host: str, error: Exception) -> ExplainedError:
    return ExplainedError(
        f"the connection to registry {host} failed repeatedly: {error or type(error).__name__}",
        advice="Try again later, or use a mirror (-c registry_mirrors=...)",
        kind=ErrorKind.REGISTRY_UNAVAILABLE,
    )


def _parameters(challenge: str) -> dict[str, str]:
    """The parameters of a WWW-Authenticate challenge (RFC 9110, 11.2)."""
    return {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else bare
        for name, quoted, bare in _CHALLENGE_PARAMETER.findall(challenge)
    }


def _server_message(body: bytes) -> str:
    """The registry's own message, for the end of an error: its first error, shortened, on one line."""
    try:
        first = read_json(body)["errors"][0]
        text = str(first.get("message") or first.get("code") or "")
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    return f"; it says: {text}" if text else ""
