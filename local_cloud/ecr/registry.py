"""ECR's registry: the OCI distribution specification 1.1, with blobs that are streamed from and to the disk.

It is in front of the emulator, which would read each request into memory. Requests have a token of
GetAuthorizationToken instead of a signature.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from local_cloud import asgi
from local_cloud.access.routes import REGISTRY_PATH
from local_cloud.asgi import Receive, Scope, Send
from local_cloud.ecr.asgi import (
    PIECE,
    Disconnected,
    Refusal,
    answer,
    bounds,
    send_file,
    small_body,
    start,
)
from local_cloud.ecr.manifests import MAXIMUM_BYTES, is_digest
from local_cloud.ecr.repository import BlobPush, Repository, RepositoryError, StoredImage
from local_cloud.ecr.rights import allowed
from local_cloud.ecr.store import RepositoryKey, RepositoryStore, record
from local_cloud.ecr.tokens import Bearer, Tokens

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CONTENT_RANGE = re.compile(r"(\d+)-(\d+)")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass
class _RegistryRequest:
    method: str
    headers: dict[str, str]
    query: dict[str, str]
    key: RepositoryKey
    repository: Repository
    kind: str
    reference: str
    receive: Receive
    send: Send

    def location(self, rest: str) -> str:
        return f"/v2/{self.key.name}/{rest}"


class Registry:
    """Answers requests."""

    def __init__(self, store: RepositoryStore, tokens: Tokens, endpoint: str) -> None:
        self._store = store
        self._tokens = tokens
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request (ASGI)."""
        try:
            await self._serve(scope, receive, send)
        except Refusal as refusal:
            errors = {"errors": [{"code": refusal.code, "message": str(refusal), "detail": {}}]}
            # The rest of the request's body was not read: the connection cannot be reused.
            await answer(
                send,
                refusal.status,
                {"Content-Type": "application/json", "Connection": "close", **refusal.headers},
                b"" if scope["method"] == "HEAD" else json.dumps(errors).encode(),
            )
        except Disconnected:
            return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = {
            name: values[0] for name, values in parse_qs(scope.get("query_string", b"").decode()).items()
        }
        headers = asgi.headers_of(scope)
        bearer = self._authenticate(headers.get("authorization", ""))
        found = REGISTRY_PATH.fullmatch(scope["path"])
        if found is None:
            if scope["path"] == "/v2/_catalog":
                raise Refusal(405, "UNSUPPORTED", "ECR has no catalog: use DescribeRepositories")
            await answer(send, 200, {"Content-Type": "application/json"}, b"{}")
            return
        key = RepositoryKey(bearer.account, bearer.region, found["name"])
        kind, reference = found["kind"] or "tags", found["reference"] or ""
        reply = _ANSWERS.get((kind, scope["method"]))
        if reply is None:
            raise Refusal(405, "UNSUPPORTED", f"{scope['method']} is not supported here")
        if denied := allowed(bearer, key, kind, scope["method"]):
            raise Refusal(403, "DENIED", denied)
        repository = self._store.repository(key)
        if repository is None:
            raise Refusal(
                404,
                "NAME_UNKNOWN",
                f"The repository with name '{key.name}' does not exist in the registry with id "
                f"'{key.account}'",
            )
        request = _RegistryRequest(
            scope["method"], headers, query, key, repository, kind, reference, receive, send
        )
        try:
            await reply(self, request)
        except RepositoryError as error:
            raise Refusal(400, error.code, str(error)) from error
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise Refusal(507, "DENIED", "The disk of the embedded cloud's state folder is full") from error

    def _authenticate(self, authorization: str) -> Bearer:
        # Other local clients, such as a page in a browser, must not read or replace images.
        bearer = self._tokens.bearer(authorization)
        if bearer is None:
            why = (
                "Your authorization token has expired or is invalid. Reauthenticate and try again."
                if authorization
                else "Not Authorized"
            )
            challenge = f'Basic realm="{self._endpoint}/",service="ecr.amazonaws.com"'
            raise Refusal(401, "UNAUTHORIZED", why, {"Www-Authenticate": challenge})
        return bearer

    # Blobs.

    async def _get_blob(self, request: _RegistryRequest) -> None:
        path = request.repository.blob(request.reference) if is_digest(request.reference) else None
        if path is None:
            raise Refusal(404, "BLOB_UNKNOWN", f"blob {request.reference} is unknown to the repository")
        size = path.stat().st_size
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": request.reference,
            "Accept-Ranges": "bytes",
            "ETag": f'"{request.reference}"',
        }
        status, first, end = 200, 0, size
        if (wanted := _RANGE.fullmatch(request.headers.get("range", ""))) and wanted[0] != "bytes=-":
            first, end = bounds(wanted[1], wanted[2], size)
            if first >= end:
                raise Refusal(
                    416, "RANGE_INVALID", f"the blob has {size} bytes", {"Content-Range": f"bytes */{size}"}
                )
            status, headers["Content-Range"] = 206, f"bytes {first}-{end - 1}/{size}"
        headers["Content-Length"] = str(end - first)
        await start(request.send, status, headers)
        if request.method == "GET":
            await send_file(request.send, path, first, end)
        await request.send({"type": "http.response.body", "body": b""})

    async def _delete_blob(self, request: _RegistryRequest) -> None:
        raise Refusal(405, "UNSUPPORTED", "ECR removes blobs itself when no image has them any more")

    async def _start_upload(self, request: _RegistryRequest) -> None:
        mount, source = request.query.get("mount", ""), request.query.get("from", "")
        if is_digest(mount) and source:
            other = self._store.repository(RepositoryKey(request.key.account, request.key.region, source))
            if other is not None and request.repository.mount_blob(other, mount):
                await self._created(request, mount)
                return
        identity, upload = self._store.start_upload(request.key)
        if digest := request.query.get("digest"):
            await self._take(request, upload, identity)
            await self._finish(request, upload, identity, digest)
            return
        await self._progress(request, upload, identity, 202)

    async def _upload_state(self, request: _RegistryRequest) -> None:
        await self._progress(request, self._upload(request), request.reference, 204)

    async def _add_to_upload(self, request: _RegistryRequest) -> None:
        upload = self._upload(request)
        await self._take(request, upload, request.reference)
        await self._progress(request, upload, request.reference, 202)

    async def _finish_upload(self, request: _RegistryRequest) -> None:
        upload = self._upload(request)
        digest = request.query.get("digest", "")
        await self._take(request, upload, request.reference)
        await self._finish(request, upload, request.reference, digest)

    async def _cancel_upload(self, request: _RegistryRequest) -> None:
        self._upload(request)
        self._store.end_upload(request.reference)
        await answer(request.send, 204, {}, b"")

    def _upload(self, request: _RegistryRequest) -> BlobPush:
        upload = self._store.find_upload(request.key, request.reference)
        if upload is None:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return upload

    async def _take(self, request: _RegistryRequest, upload: BlobPush, identity: str) -> None:
        """Append the request's body to the upload, in pieces. Data from a broken connection is kept."""
        given = _CONTENT_RANGE.fullmatch(request.headers.get("content-range", ""))
        if upload.busy or (given is not None and int(given[1]) != upload.size):
            # Two at once, or a piece that does not follow the one before, would mix up the blob.
            raise Refusal(
                416,
                "BLOB_UPLOAD_INVALID",
                f"the upload has {upload.size} bytes",
                {"Range": _range_of(upload), "Location": request.location(f"blobs/uploads/{identity}")},
            )
        upload.busy = True
        try:
            pieces: list[bytes] = []
            waiting = 0
            while True:
                message = await request.receive()
                gone = message["type"] == "http.disconnect"
                pieces.append(message.get("body", b""))
                waiting += len(pieces[-1])
                last = gone or not message.get("more_body", False)
                if waiting >= PIECE or (last and waiting):
                    await asyncio.to_thread(upload.write, b"".join(pieces))
                    pieces, waiting = [], 0
                if gone:
                    raise Disconnected
                if last:
                    return
        finally:
            upload.busy = False

    async def _finish(self, request: _RegistryRequest, upload: BlobPush, identity: str, digest: str) -> None:
        upload.busy = True
        try:
            if not is_digest(digest):
                raise RepositoryError("DIGEST_INVALID", f"'{digest}' is not a sha256 digest")
            await asyncio.to_thread(request.repository.add_blob, upload, digest)
        finally:
            self._store.end_upload(identity)
        await self._created(request, digest)

    async def _created(self, request: _RegistryRequest, digest: str) -> None:
        headers = {"Location": request.location(f"blobs/{digest}"), "Docker-Content-Digest": digest}
        await answer(request.send, 201, headers, b"")

    async def _progress(
        self, request: _RegistryRequest, upload: BlobPush, identity: str, status: int
    ) -> None:
        headers = {
            "Location": request.location(f"blobs/uploads/{identity}"),
            "Range": _range_of(upload),
            "Docker-Upload-UUID": identity,
        }
        await answer(request.send, status, headers, b"")

    # Manifests and tags.

    async def _get_manifest(self, request: _RegistryRequest) -> None:
        image = self._image(request)
        content = await asyncio.to_thread(request.repository.manifest, image)
        headers = {
            "Content-Type": image.media_type,
            "Docker-Content-Digest": image.digest,
            "Content-Length": str(len(content)),
        }
        await answer(request.send, 200, headers, b"" if request.method == "HEAD" else content)

    async def _put_manifest(self, request: _RegistryRequest) -> None:
        by_digest = is_digest(request.reference)
        if not by_digest and not _TAG.fullmatch(request.reference):
            raise Refusal(400, "TAG_INVALID", f"'{request.reference}' is not a valid tag")
        content = await small_body(request.receive, MAXIMUM_BYTES)
        if by_digest and f"sha256:{hashlib.sha256(content).hexdigest()}" != request.reference:
            raise Refusal(400, "DIGEST_INVALID", "provided digest did not match the manifest")
        settings = record(request.key) or {}
        image = await asyncio.to_thread(
            request.repository.put_image,
            content,
            request.headers.get("content-type", ""),
            None if by_digest else request.reference,
            immutable=settings.get("imageTagMutability") == "IMMUTABLE",
        )
        headers = {
            "Location": request.location(f"manifests/{image.digest}"),
            "Docker-Content-Digest": image.digest,
        }
        await answer(request.send, 201, headers, b"")

    async def _delete_manifest(self, request: _RegistryRequest) -> None:
        image = self._image(request)
        tag = None if is_digest(request.reference) else request.reference
        await asyncio.to_thread(request.repository.remove, image, tag)
        await answer(request.send, 202, {}, b"")

    def _image(self, request: _RegistryRequest) -> StoredImage:
        image = request.repository.find(request.reference)
        if image is None:
            raise Refusal(404, "MANIFEST_UNKNOWN", "Requested image not found")
        return image

    async def _list_tags(self, request: _RegistryRequest) -> None:
        tags = sorted(tag for image in request.repository.images() for tag in image.tags)
        tags = [tag for tag in tags if tag > request.query.get("last", "")]
        headers = {"Content-Type": "application/json"}
        if (limit := request.query.get("n", "")).isdecimal() and int(limit) < len(tags):
            tags = tags[: int(limit)]
            more = f"{request.location('tags/list')}?n={limit}&last={tags[-1] if tags else ''}"
            headers["Link"] = f'<{more}>; rel="next"'
        await answer(
            request.send, 200, headers, json.dumps({"name": request.key.name, "tags": tags}).encode()
        )

    async def _list_referrers(self, request: _RegistryRequest) -> None:
        # Images with a `subject` are not listed separately: clients fall back to tags.
        raise Refusal(404, "UNSUPPORTED", "the embedded cloud's ECR does not support referrers")


_ANSWERS: dict[tuple[str, str], Callable[[Registry, _RegistryRequest], Awaitable[None]]] = {
    ("blobs", "GET"): Registry._get_blob,
    ("blobs", "HEAD"): Registry._get_blob,
    ("blobs", "DELETE"): Registry._delete_blob,
    ("blobs/uploads", "POST"): Registry._start_upload,
    ("blobs/uploads", "GET"): Registry._upload_state,
    ("blobs/uploads", "PATCH"): Registry._add_to_upload,
    ("blobs/uploads", "PUT"): Registry._finish_upload,
    ("blobs/uploads", "DELETE"): Registry._cancel_upload,
    ("manifests", "GET"): Registry._get_manifest,
    ("manifests", "HEAD"): Registry._get_manifest,
    ("manifests", "PUT"): Registry._put_manifest,
    ("manifests", "DELETE"): Registry._delete_manifest,
    ("tags", "GET"): Registry._list_tags,
    ("referrers", "GET"): Registry._list_referrers,
}


def _range_of(upload: BlobPush) -> str:
    return f"0-{max(0, upload.size - 1)}"
