"""How ECR's API calls are answered, and how they find their repository."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import ecr

from local_cloud.ecr.manifests import InvalidManifestError
from local_cloud.ecr.repository import Repository, RepositoryError
from local_cloud.ecr.store import RepositoryKey, RepositoryStore
from local_cloud.patches import Original, replaces

Response = tuple[int, dict[str, str], bytes]
Record = dict[str, Any]
_EXCEPTIONS = {
    "TAG_INVALID": "ImageTagAlreadyExistsException",
    "MANIFEST_BLOB_UNKNOWN": "LayersNotFoundException",
    "MANIFEST_INVALID": "InvalidParameterException",
    "DIGEST_INVALID": "InvalidLayerException",
}


class CallFailed(Exception):  # noqa: N818 - an answer
    """The call fails with an exception of ECR's."""

    def __init__(self, exception: str, message: str) -> None:
        super().__init__(message)
        self.exception = exception


def install(store: RepositoryStore, calls: dict[str, Callable[[Repository, Record], Record]]) -> None:
    """Replace the emulator's functions; a call receives the repository in its request."""
    for name, call in calls.items():
        replaces(ecr, name)(partial(_answer, store, call))


def _answer(
    store: RepositoryStore, call: Callable[[Repository, Record], Record], _own: Original, request: Record
) -> Response:
    try:
        body = call(_find_repository(store, request), request)
    except CallFailed as error:
        return failure(error.exception, str(error))
    except RepositoryError as error:
        return failure(_EXCEPTIONS[error.code], str(error))
    except (InvalidManifestError, KeyError, TypeError, ValueError, AttributeError) as error:
        return failure("InvalidParameterException", f"Malformed request: {error!r}")
    return success(body)


def success(body: Record) -> Response:
    """The answer to a call that succeeds."""
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(body).encode()


def failure(exception: str, message: str) -> Response:
    """The answer to a call that fails."""
    headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": exception}
    return 400, headers, json.dumps({"__type": exception, "message": message}).encode()


def key_of(name: str) -> RepositoryKey:
    """A repository of the caller's account and region."""
    return RepositoryKey(get_account_id(), get_region(), name)


def _find_repository(store: RepositoryStore, request: Record) -> Repository:
    name = str(request.get("repositoryName", ""))
    repository = store.repository(key_of(name))
    if repository is None:
        raise CallFailed(
            "RepositoryNotFoundException",
            f"The repository with name '{name}' does not exist in the registry with id '{get_account_id()}'",
        )
    return repository
