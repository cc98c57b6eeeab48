"""ECR's API calls about layers, and about the registry that they are pushed to."""

from __future__ import annotations

import base64

from ministack.core.responses import get_account_id, get_region
from ministack.services import ecr

from local_cloud.access import callers
from local_cloud.ecr import api
from local_cloud.ecr.api import CallFailed, Record, Response, key_of, success
from local_cloud.ecr.manifests import is_digest
from local_cloud.ecr.repository import BlobPush, Repository
from local_cloud.ecr.store import RepositoryStore
from local_cloud.ecr.tokens import Tokens
from local_cloud.patches import Original, replaces

_PART_BYTES = 10 << 20


class LayerCalls:
    """The calls; `endpoint` is the URL of the registry."""

    def __init__(self, store: RepositoryStore, tokens: Tokens, endpoint: str) -> None:
        self._store = store
        self._tokens = tokens
        self._endpoint = endpoint

    def install(self) -> None:
        """Take the place of the emulator's calls."""
        calls = (
            self.get_download_url_for_layer,
            self.batch_check_layer_availability,
            self.initiate_layer_upload,
            self.upload_layer_part,
            self.complete_layer_upload,
        )
        api.install(self._store, {f"_{call.__name__}": call for call in calls})
        replaces(ecr, "_get_authorization_token")(self.get_authorization_token)

    def get_authorization_token(self, _own: Original, _request: Record) -> Response:
        """GetAuthorizationToken, which names no repository."""
        caller = callers.current.get() or callers.Caller()
        token, expires_at = self._tokens.issue(
            get_account_id(), get_region(), caller.access_key_id, is_root=caller.is_root
        )
        entry = {"authorizationToken": token, "expiresAt": expires_at, "proxyEndpoint": self._endpoint}
        return success({"authorizationData": [entry]})

    def get_download_url_for_layer(self, repository: Repository, request: Record) -> Record:
        """GetDownloadUrlForLayer. Unlike on AWS, the URL requires a token of GetAuthorizationToken."""
        digest = request.get("layerDigest", "")
        if not is_digest(digest) or repository.blob(digest) is None:
            raise CallFailed("LayersNotFoundException", f"The layer with digest '{digest}' does not exist")
        return {
            "downloadUrl": f"{self._endpoint}/v2/{repository.name}/blobs/{digest}",
            "layerDigest": digest,
        }

    def batch_check_layer_availability(self, repository: Repository, request: Record) -> Record:
        """BatchCheckLayerAvailability."""
        layers, failures = [], []
        for digest in request.get("layerDigests", []):
            path = repository.blob(digest) if is_digest(digest) else None
            if path is not None:
                size = path.stat().st_size
                layers.append({"layerDigest": digest, "layerAvailability": "AVAILABLE", "layerSize": size})
            elif is_digest(digest):
                layers.append({"layerDigest": digest, "layerAvailability": "UNAVAILABLE", "layerSize": 0})
            else:
                failures.append(
                    {
                        "layerDigest": digest,
                        "failureCode": "InvalidLayerDigest",
                        "failureReason": "Invalid layer digest",
                    }
                )
        return {"layers": layers, "failures": failures}

    def initiate_layer_upload(self, repository: Repository, request: Record) -> Record:
        """InitiateLayerUpload."""
        identity, _ = self._store.start_upload(key_of(repository.name))
        return {"uploadId": identity, "partSize": _PART_BYTES}

    def upload_layer_part(self, repository: Repository, request: Record) -> Record:
        """UploadLayerPart: parts must be sent in order."""
        identity, upload = self._upload(repository, request)
        first, last = int(request.get("partFirstByte", -1)), int(request.get("partLastByte", -1))
        part = base64.b64decode(request.get("layerPartBlob", ""))
        if first != upload.size or last - first + 1 != len(part):
            raise CallFailed(
                "InvalidLayerPartException",
                f"The layer part is invalid: the upload has {upload.size} bytes, and the part of {len(part)} "
                f"bytes was sent as {first} to {last}",
            )
        upload.write(part)
        return {
            "registryId": get_account_id(),
            "repositoryName": repository.name,
            "uploadId": identity,
            "lastByteReceived": upload.size - 1,
        }

    def complete_layer_upload(self, repository: Repository, request: Record) -> Record:
        """CompleteLayerUpload."""
        identity, upload = self._upload(repository, request)
        digest = next(iter(request.get("layerDigests") or [""]))
        try:
            repository.add_blob(upload, digest)
        finally:
            self._store.end_upload(identity)
        return {
            "registryId": get_account_id(),
            "repositoryName": repository.name,
            "uploadId": identity,
            "layerDigest": digest,
        }

    def _upload(self, repository: Repository, request: Record) -> tuple[str, BlobPush]:
        identity = request.get("uploadId", "")
        upload = self._store.find_upload(key_of(repository.name), identity)
        if upload is None:
            raise CallFailed("UploadNotFoundException", f"The upload with id '{identity}' does not exist")
        return identity, upload
