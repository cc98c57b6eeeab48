"""The repository that an assembled image is pushed to: existing blobs, uploads in chunks, manifests.

The protocol is OCI's distribution specification 1.1, with the differences of Amazon ECR
(aws/containers-roadmap 2831, verified there byte by byte): a chunk is answered by 201 instead of 202, and the
`Range` of that answer stays at the first chunk although all of them are stored. The position in an upload is
therefore the number of sent bytes, and `Range` is used only after a failure, and only if it is
plausible. In any case, the registry compares the complete blob with its digest at the end, and so do we
before completing it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
import urllib.parse
from collections.abc import Callable, Mapping

from containers.errors import ErrorKind, ExplainedError
from containers.http_client import NETWORK_ERRORS, Response
from containers.image.manifests import Descriptor, check_digest
from containers.patience import ServerPatience
from containers.registry.client import Credentials, RegistryRepository
from containers.registry.transport import RETRIED, HttpStatusError

CHUNK_BYTES = 6 << 20
"""ECR accepts chunks of 5 to 10 MiB, and 4 200 chunks of one blob: 24 GiB, more than the maximum of Lambda
(Amazon ECR User Guide, "Amazon ECR service quotas")."""

DEFAULT_PATIENCE = ServerPatience(timeout_s=120.0, attempts=6)
"""ECR may need a minute to register a blob of several gigabytes."""

_NOT_FOUND, _BAD_REQUEST, _RANGE_NOT_SATISFIABLE = 404, 400, 416
_AUTHORIZATION = (401, 403)
_BLOB_TYPE = {"Content-Type": "application/octet-stream"}
_STORED = re.compile(r"(?:bytes=)?0-(\d+)")


class UploadLostError(Exception):
    """The registry no longer has the upload, or has different bytes: the blob must be uploaded again. `cause`
    is the registry's message."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class TargetRepository(RegistryRepository):
    """`repository` of the registry at `origin` (`https://host[:port]`), to push to. Raises ExplainedError."""

    def __init__(
        self,
        origin: str,
        repository: str,
        *,
        credentials: Credentials | None = None,
        patience: ServerPatience | None = None,
    ) -> None:
        super().__init__(
            origin,
            repository,
            f"repository {repository}",
            credentials=credentials,
            patience=patience or DEFAULT_PATIENCE,
        )

    def blob_size(self, digest: str) -> int | None:
        """The size of a blob in bytes; None if it does not exist."""
        try:
            with self._ask("HEAD", f"blobs/{digest}") as response:
                return int(response.headers.get("Content-Length", 0))
        except HttpStatusError as error:
            if error.status == _NOT_FOUND:
                return None
            raise self._refused(error, "answer a request for a layer") from error

    def find_manifest(self, version: str) -> bytes | None:
        """The manifest of a tag or digest, verified if it is a digest; None if it does not exist."""
        try:
            content, _ = self.read_manifest(version)
        except ExplainedError as error:
            if error.kind == ErrorKind.IMAGE_NOT_FOUND:
                return None
            raise
        if ":" in version:
            check_digest(content, version, f"a manifest in {self._what}")
        return content

    def put_blob(self, content: bytes, media_type: str) -> Descriptor:
        """Store a small blob, unless it exists."""
        descriptor = Descriptor(media_type, f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
        failures = 0
        while self.blob_size(descriptor.digest) != len(content):
            try:
                self.start_upload().finish(descriptor.digest, content)
            except UploadLostError as error:
                failures += 1
                if self.patience.is_over(failures):
                    raise self.upload_failed(error.cause) from error
        return descriptor

    def put_manifest(self, version: str, content: bytes, media_type: str) -> None:
        """Store a manifest under a tag or its digest. An immutable tag of ECR keeps its manifest."""
        try:
            self._ask("PUT", f"manifests/{version}", {"Content-Type": media_type}, content).close()
        except HttpStatusError as error:
            if error.status not in _AUTHORIZATION and self.find_manifest(version) is not None:
                return
            raise self._refused(error, f"accept the manifest '{version}'") from error

    def start_upload(self) -> BlobUpload:
        """A new upload of a blob."""
        try:
            with self._ask("POST", "blobs/uploads/", {"Content-Length": "0"}) as response:
                return BlobUpload(self, self.location(response, f"{self._origin}/"))
        except HttpStatusError as error:
            raise self._refused(error, "take a blob") from error

    def location(self, response: Response, before: str) -> str:
        """The URL for the next request of the upload."""
        return urllib.parse.urljoin(before, response.headers.get("Location") or before)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | bytearray) -> Response:
        """One request of an upload, without a second attempt. Raises HttpStatusError, or one of
        NETWORK_ERRORS."""
        # A location elsewhere (a storage service) carries its own rights; our login is the registry's
        # alone.
        home = urllib.parse.urlsplit(url).netloc == self._host
        return self._authorized(
            lambda login: self._transport.open_once(url, headers, login if home else None, method, body)
        )

    @property
    def patience(self) -> ServerPatience:
        """How long to bear with the registry."""
        return self._transport.patience

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Response:
        url = f"{self._origin}/v2/{self._repository}/{path}"
        return self._authorized(lambda login: self._transport.open(url, headers or {}, login, method, body))

    def _explain(self, error: HttpStatusError, not_found: Callable[[], ExplainedError]) -> ExplainedError:
        return not_found() if error.status == _NOT_FOUND else self._refused(error, "return its content")

    def _refused(self, error: HttpStatusError, what: str) -> ExplainedError:
        text = " ".join(error.body.decode("utf-8", "replace").split())[:300]
        advice = "Check that the repository exists, and that nothing else deletes images from it"
        if error.status in _AUTHORIZATION:
            advice = (
                "The assembler's role needs ecr:GetAuthorizationToken, and ecr:BatchCheckLayerAvailability, "
                "ecr:InitiateLayerUpload, ecr:UploadLayerPart, ecr:CompleteLayerUpload, ecr:PutImage, "
                "ecr:BatchGetImage and ecr:GetDownloadUrlForLayer on the repository"
            )
        return ExplainedError(
            f"{self._what} at {self._host} does not {what} (HTTP {error.status}): {text}",
            advice=advice,
            kind=ErrorKind.PUSH_REFUSED,
        )

    def upload_failed(self, error: Exception) -> ExplainedError:
        """The error for an upload that failed."""
        if isinstance(error, HttpStatusError):
            return self._refused(error, "accept a layer")
        return ExplainedError(
            f"the connection to {self._what} at {self._host} failed repeatedly: "
            f"{error or type(error).__name__}",
            advice="Deploy again: layers that were copied are not copied again",
            kind=ErrorKind.REGISTRY_UNAVAILABLE,
        )


class BlobUpload:
    """One upload of a blob, chunk by chunk from its beginning. Raises ExplainedError, or UploadLostError."""

    def __init__(self, target: TargetRepository, location: str) -> None:
        self._target = target
        self._location = location
        self._position = 0

    def send(self, chunk: bytes | bytearray) -> None:
        """Send the next bytes; if the connection breaks, send the missing ones again."""
        end = self._position + len(chunk)
        failures = 0
        while self._position < end:
            rest = chunk if end - self._position == len(chunk) else chunk[self._position - end :]
            headers = {**_BLOB_TYPE, "Content-Range": f"{self._position}-{end - 1}"}
            try:
                with self._target.send("PATCH", self._location, headers, rest) as response:
                    self._location = self._target.location(response, self._location)
                self._position = end
            except (HttpStatusError, *NETWORK_ERRORS) as error:
                failures += 1
                self._pause(error, failures)
                self._find_position(end)

    def finish(self, digest: str, content: bytes = b"") -> None:
        """Let the registry verify and store the blob. `content` is the complete blob if nothing was sent
        yet."""
        separator = "&" if urllib.parse.urlsplit(self._location).query else "?"
        url = f"{self._location}{separator}digest={urllib.parse.quote(digest)}"
        headers = {**_BLOB_TYPE, "Content-Length": str(len(content))}
        failures = 0
        while True:
            try:
                self._target.send("PUT", url, headers, content).close()
            except (HttpStatusError, *NETWORK_ERRORS) as error:
                failures += 1
                # The answer may have been lost: then the blob exists.
                if self._target.blob_size(digest) is not None:
                    return
                self._pause(error, failures)
                if content:  # how much of it arrived is not known
                    raise UploadLostError(error) from error
            else:
                return

    def cancel(self) -> None:
        """Cancel the upload. If this fails, the registry removes it later."""
        with contextlib.suppress(HttpStatusError, ExplainedError, *NETWORK_ERRORS):
            self._target.send("DELETE", self._location, {}, b"").close()

    def _pause(self, error: Exception, failures: int) -> None:
        """Wait a little if `error` is temporary; otherwise raise it with an explanation."""
        patience = self._target.patience
        retry_after = None
        if isinstance(error, HttpStatusError):
            retry_after = error.headers.get("Retry-After")
            # 400 is also the answer to a digest that does not match the received bytes.
            if error.status in (_NOT_FOUND, _BAD_REQUEST, _RANGE_NOT_SATISFIABLE):
                raise UploadLostError(error) from error
            if error.status not in RETRIED:
                raise self._target.upload_failed(error) from error
        if patience.is_over(failures):
            raise self._target.upload_failed(error) from error
        time.sleep(patience.pause_s(failures, retry_after))

    def _find_position(self, end: int) -> None:
        """Query how much of the chunk has arrived. ECR's answer may be that of an earlier chunk, and Docker's
        `0-0` means nothing: then the whole chunk is sent again."""
        try:
            with self._target.send("GET", self._location, {}, b"") as response:
                stored = _STORED.fullmatch(response.headers.get("Range", ""))
                self._location = self._target.location(response, self._location)
        except HttpStatusError as error:
            if error.status == _NOT_FOUND:
                raise UploadLostError(error) from error
            return
        except NETWORK_ERRORS:
            return
        arrived = int(stored[1]) + 1 if stored and stored[1] != "0" else 0
        if self._position <= arrived <= end:
            self._position = arrived
