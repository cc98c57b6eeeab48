"""The permissions of a token: those of the caller who requested it.

In policies, the registry's requests have the names of the corresponding API calls (ECR user guide,
"Amazon ECR repository policy examples" and "IAM permissions for pushing an image").
"""

from __future__ import annotations

from ministack.core import iam_evaluator
from ministack.core.responses import request_scope

from local_cloud.access import callers
from local_cloud.ecr.store import RepositoryKey
from local_cloud.ecr.tokens import Bearer

_ACTIONS = {
    ("blobs", "HEAD"): "BatchCheckLayerAvailability",
    ("blobs", "GET"): "GetDownloadUrlForLayer",
    ("blobs/uploads", "POST"): "InitiateLayerUpload",
    ("blobs/uploads", "GET"): "UploadLayerPart",
    ("blobs/uploads", "PATCH"): "UploadLayerPart",
    ("blobs/uploads", "PUT"): "CompleteLayerUpload",
    ("manifests", "GET"): "BatchGetImage",
    ("manifests", "HEAD"): "BatchGetImage",
    ("manifests", "PUT"): "PutImage",
    ("manifests", "DELETE"): "BatchDeleteImage",
    ("tags", "GET"): "ListImages",
}


def allowed(bearer: Bearer, key: RepositoryKey, kind: str, method: str) -> str | None:
    """Why the bearer may not do this, or None if it may."""
    action = _ACTIONS.get((kind, method))
    if action is None:
        return None
    caller = callers.current.set(callers.Caller(bearer.access_key, is_root=bearer.is_root))
    try:
        with request_scope(bearer.account, bearer.region):
            denied = iam_evaluator.enforce(
                bearer.access_key, f"ecr:{action}", "ecr", bearer.region, resource_arn=key.arn
            )
    finally:
        callers.current.reset(caller)
    if denied is None:
        return None
    who = getattr(denied, "principal_arn", "") or bearer.access_key
    return f"User: {who} is not authorized to perform: ecr:{action} on resource: {key.arn}"
