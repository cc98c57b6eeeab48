"""In front of the emulator: which requests it gets.

Any web page that a browser shows, and any container, can open a connection to the cloud. Each request is
checked here before the emulator has read anything of it:

1. Its `Host` is this cloud's. Stops DNS rebinding: a page whose own name points to 127.0.0.1.
2. It is not from a web page of another origin (`Origin`, `Sec-Fetch-Site`), except for HTTP endpoints of
   functions, and for objects in buckets whose CORS configuration allows the page (`docs/local-cloud.md`).
3. It is for one of AWS's APIs: the emulator's own control paths are closed (`routes.py`).
4. It is signed, and the signature is right (`signatures.py`). HTTP endpoints of functions have authorizers of
   their own; requests to ECR's registry have a token (`ecr/registry.py`). Policies are up to
   `iam/policies.py`.

Answers have no CORS headers, except those of a function, or of a bucket's configuration that admits the page.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import ministack.app
from ministack.core.iam_evaluator import AuthError
from ministack.core.router import detect_service
from ministack.services import s3

from local_cloud.access import callers, job_credentials, routes, signatures, upload_forms
from local_cloud.access.callers import Caller
from local_cloud.access.routes import is_registry_request
from local_cloud.access.signatures import SignatureError
from local_cloud.access.signed_chunks import ChunkReader
from local_cloud.asgi import Message, Receive, Send, headers_of, refuse
from local_cloud.asgi import answer as send_answer

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_LABELS = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?)\.localhost")
_MOST_BYTES = 100_000_000
"""Of a body that is hashed before it is passed on: all but S3's, the largest of which are functions' code."""
_OK, _FORBIDDEN = 200, 403


class _Closed(Exception):  # noqa: N818 (no error of ours: an answer)
    """A rejected request, with the answer."""


def install(port: int) -> None:
    """Install the outermost layer, and close the emulator's own paths. Must be installed last."""
    ministack.app.app = Gatekeeper(ministack.app.app, port)
    routes.install()
    upload_forms.install()


class Gatekeeper:
    """The ASGI application in front of the emulator's."""

    def __init__(self, serve: Any, port: int) -> None:
        self._serve = serve
        self._port = port

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request, or turn it away."""
        if scope["type"] == "lifespan":
            await self._serve(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # WebSockets, which any page may open without asking: no service of AWS's that we use has them
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        request = signatures.Request(
            scope["method"], scope["raw_path"], scope["query_string"], scope["headers"]
        )
        headers = headers_of(scope)
        path = scope["path"]
        try:
            self._check_host(request)
            to_endpoint = routes.is_endpoint(headers["host"], path)
            from_page = self._from_page(request)
            shown = to_endpoint or (from_page and _bucket_lets_in(scope["method"], path, headers))
            for_job = job_credentials.answer(scope["method"], path)
            if (
                not to_endpoint
                and for_job is None
                and not routes.is_open(scope["method"], headers["host"], path)
            ):
                closed: str | None = "The emulator's own paths are not available"
            else:
                closed = "Web pages may not call the embedded cloud" if from_page and not shown else None
        except (_Closed, SignatureError) as error:
            closed = str(error)
        if closed is not None:
            body = json.dumps({"message": closed}).encode()
            await refuse(send, _FORBIDDEN, {"Content-Type": "application/json"}, body)
            return
        if for_job is not None:
            await send_answer(send, _OK, {"Content-Type": "application/json"}, for_job)
            return
        answer = send if shown else _without_cors(send)
        if is_registry_request(scope):
            await self._serve(scope, receive, answer)
            return
        if (to_endpoint or shown) and scope["method"] == "OPTIONS":
            callers.current.set(Caller(to_endpoint=to_endpoint))
            await self._serve(scope, receive, answer)
            return
        try:
            caller, receive = await self._identify(request, path, headers, receive, to_endpoint=to_endpoint)
            callers.current.set(caller)
            await self._serve(scope, receive, answer)
        except SignatureError as error:
            query = parse_qs(scope["query_string"].decode("latin-1"))
            await refuse(answer, *refusal(error, scope["method"], path, headers, query))

    def _check_host(self, request: signatures.Request) -> None:
        """Stops DNS rebinding: a browser that was redirected here sends the other host name."""
        host = request.header("host").lower()
        if not self._is_own(host):
            here = f"127.0.0.1:{self._port} and localhost:{self._port}"
            raise _Closed(f"The embedded cloud is at {here}, but the request used another host name")

    def _is_own(self, host: str) -> bool:
        name, _colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if not name:
            name, port = host, "80"
        return port == str(self._port) and (name in _LOOPBACK or _LABELS.fullmatch(name) is not None)

    def _from_page(self, request: signatures.Request) -> bool:
        """Whether a web page of another origin sent this. Only browsers set these headers."""
        origins = request.values("origin")
        site = request.header("sec-fetch-site").lower()
        own = [self._is_own_origin(origin.decode("latin-1")) for origin in origins]
        return not all(own) or site in ("cross-site", "same-site")

    def _is_own_origin(self, origin: str) -> bool:
        try:
            parts = urlsplit(origin.lower())
        except ValueError:
            return False
        return parts.scheme == "http" and self._is_own(parts.netloc)

    async def _identify(
        self,
        request: signatures.Request,
        path: str,
        headers: dict[str, str],
        receive: Receive,
        *,
        to_endpoint: bool,
    ) -> tuple[Caller, Receive]:
        """Who has signed, and the body: checked before it is passed on, or on its way."""
        if routes.is_answer_of_stack(request.method, path):
            return Caller(), receive
        try:
            signature = signatures.read(request)
            if signature is None:
                caller = Caller(to_endpoint=True) if to_endpoint else _unsigned(request, path, headers)
                return caller, receive
            secret = callers.secret_of(signature.access_key_id, signature.token)
            receive = await _checked(request, signature, secret, receive)
        except SignatureError as error:
            # The header may be for the function itself; an endpoint with our authorization declares it.
            if to_endpoint:
                return Caller(to_endpoint=True, failure=error), receive
            raise
        return Caller(
            signature.access_key_id,
            is_root=callers.is_root(signature.access_key_id),
            for_s3=signature.service == "s3",
            to_endpoint=to_endpoint,
        ), receive


def _unsigned(request: signatures.Request, path: str, headers: dict[str, str]) -> Caller:
    if upload_forms.is_form(request, path, headers):
        return Caller(to_form=True)
    raise SignatureError("MissingAuthenticationToken", "Request is missing Authentication Token")


async def _checked(
    request: signatures.Request, signature: signatures.Signature, secret: str, receive: Receive
) -> Receive:
    """Verify the signature, and that the body is the one that was signed."""
    payload = signature.payload
    if payload is None:
        body = await _whole(receive)
        signatures.check(request, signature, secret, hashlib.sha256(body).hexdigest())
        return _replayed(body, receive)
    signatures.check(request, signature, secret, payload)
    if payload.startswith(signatures.SIGNED_CHUNKS):
        return _followed(receive, ChunkReader(signature, secret))
    if payload in (signatures.UNSIGNED_PAYLOAD, signatures.UNSIGNED_CHUNKS):
        return receive
    return _followed(receive, _Hash(payload))


class _Hash:
    """Of a body whose hash was signed."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._hash = hashlib.sha256()

    def feed(self, data: bytes) -> None:
        self._hash.update(data)

    def finish(self) -> None:
        if self._hash.hexdigest() != self._wanted:
            raise SignatureError(
                "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match"
            )


def _followed(receive: Receive, checker: ChunkReader | _Hash) -> Receive:
    """The same body, checked as it passes: the emulator acts on nothing before it has the last byte."""

    async def receive_checked() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            checker.feed(message.get("body", b""))
            if not message.get("more_body", False):
                checker.finish()
        return message

    return receive_checked


async def _whole(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise SignatureError("IncompleteSignature", "The request ended too early")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > _MOST_BYTES:
            raise SignatureError("IncompleteSignature", f"A request has at most {_MOST_BYTES} bytes")
        if not message.get("more_body", False):
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again


def _bucket_lets_in(method: str, path: str, headers: dict[str, str]) -> bool:
    """Whether the page may have this object. Its signature is checked too, but for a preflight."""
    target = ministack.app._s3_cors_target(headers["host"], path)
    if target is None or "authorization" in headers:
        return False
    origin = headers.get("origin")
    if origin is None:  # a link, a picture: nothing that a script could read
        return method in ("GET", "HEAD")
    asked = headers.get("access-control-request-headers", "") if method == "OPTIONS" else ""
    wanted = headers.get("access-control-request-method", "") if method == "OPTIONS" else method
    rules = s3._cors_rules(target[0])
    names = [name.strip() for name in asked.split(",") if name.strip()]
    return bool(rules and s3._cors_answer(rules, origin, wanted, names))


def refusal(
    error: SignatureError, method: str, path: str, headers: dict[str, str], query: dict[str, list[str]]
) -> tuple[int, dict[str, str], bytes]:
    """The answer of the called service for such a signature, as on AWS."""
    service = detect_service(method, path, headers, query)
    if error.code == "XAmzContentSHA256Mismatch":
        status, fields, body = s3._error(error.code, error.message, 400)
    else:
        status, fields, body = ministack.app._credential_failure(
            service, "", "", AuthError(error.code, error.message), headers
        )
    return status, fields, body


def _without_cors(send: Send) -> Send:
    """No page of another origin may read an answer, regardless of the emulator's headers."""

    async def send_without(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [one for one in message["headers"] if not one[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": kept}
        await send(message)

    return send_without
