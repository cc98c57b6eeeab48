"""Which of ministack's routes are open: AWS's APIs, HTTP endpoints of functions, and answers to stacks.

ministack's own paths (reset, configuration, messages, logins, whole services by path) are served before the
caller is verified. They are closed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import ministack.app
from ministack.services import s3

_ANSWERS_OF_STACKS = re.compile(r"/_ministack/cfn-(response|signal)/[0-9a-f-]{36}")
"""Where custom resources answer. On AWS this is a presigned URL; here the random token is the secret."""
_OWN = ("/_ministack/", "/_localstack/", "/_aws/", "/_alb/")
_ENDPOINTS = ("/_aws/execute-api/", "/_aws/lambda-url/")
_shortcuts = ministack.app._handle_post_body_shortcuts


def install() -> None:
    """Replace the checks of ministack that run before it has found a service."""
    ministack.app._handle_pre_body_request = _preflight_alone
    ministack.app._handle_post_body_shortcuts = _answers_of_stacks_alone
    ministack.app._handle_special_data_plane_request = _endpoints_and_buckets_alone


def is_endpoint(host: str, path: str) -> bool:
    """Whether the request is for an HTTP endpoint of a function: API Gateway's or a function's URL."""
    if path.startswith("/_") and not path.startswith(_ENDPOINTS):
        return False
    app = ministack.app
    return bool(app._parse_execute_api_url(host, path) or app._parse_lambda_url(host, path))


def is_open(method: str, host: str, path: str) -> bool:
    """Whether the path is not one of the emulator's own. Keys in a bucket that is in the host may look so."""
    if is_answer_of_stack(method, path):
        return True
    in_bucket = not path.startswith(_OWN) and ministack.app._extract_s3_vhost_bucket(host)
    return not path.startswith("/_") or bool(in_bucket)


def is_answer_of_stack(method: str, path: str) -> bool:
    """Whether a custom resource, or a wait condition, of a stack answers."""
    return method == "PUT" and _ANSWERS_OF_STACKS.fullmatch(path) is not None


async def _preflight_alone(method: str, path: str, headers: Any, query: Any, request_id: str) -> Any:
    """Of what ministack answers before it has read a body: no health, reset, downloads, messages, logins."""
    if is_endpoint(headers.get("host", ""), path):
        return None
    return ministack.app._handle_options_request(method, path, headers, query, request_id)


async def _answers_of_stacks_alone(method: str, path: str, *request: Any) -> Any:
    """Of what ministack answers before it has found a service: no configuration, no logins."""
    return await _shortcuts(method, path, *request) if is_answer_of_stack(method, path) else None


async def _endpoints_and_buckets_alone(  # noqa: PLR0917 (as ministack calls it)
    method: str, path: str, headers: Any, body: bytes, query: Any, request_id: str, **more: Any
) -> Any:
    """Of what ministack serves by host and path: endpoints of functions, and buckets that are in the host."""
    app, host = ministack.app, headers.get("host", "")
    raw = {name: more[name] for name in ("raw_path", "raw_query_string")}
    answer = await app._handle_execute_api_request(host, path, method, headers, body, query, **raw)
    if answer:
        return app._with_data_plane_headers(answer, request_id, wildcard_cors=False)
    if answer := await app._handle_lambda_url_request(host, path, method, headers, body, query):
        return answer
    if answer := await app._handle_s3_vhost_request(host, path, method, headers, body, query):
        if target := app._s3_cors_target(host, path, path_style=False):
            answer[1].update(s3.cors_response_headers(target[0], method, headers))
        return app._with_data_plane_headers(answer, request_id, include_s3_id=True, wildcard_cors=False)
    return None


REGISTRY_PATH = re.compile(
    r"/v2/(?P<name>.+)/(?:(?P<kind>blobs/uploads|blobs|manifests|referrers)/(?P<reference>[^/]*)|tags/list)"
)


def is_registry_request(scope: Mapping[str, Any]) -> bool:
    """Whether a request is for the registry, and therefore has an ECR token instead of a signature."""
    if scope["type"] != "http":
        return False
    headers = dict(scope["headers"])
    if headers.get(b"authorization", b"").startswith(b"AWS4"):
        return False  # of another service that has such paths: a bucket named `v2`
    path = scope["path"]
    if path in ("/v2", "/v2/", "/v2/_catalog"):
        return True
    return REGISTRY_PATH.fullmatch(path) is not None and not path.startswith("/v2/email")
