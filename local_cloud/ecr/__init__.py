"""ECR with its data plane: a registry that stores pushed images on disk.

    registry.py    the distribution specification: `/v2/…` requests, streamed
    asgi.py        how its requests are read and answered
    image_calls.py, layer_calls.py, api.py  the API calls
    tokens.py      GetAuthorizationToken's passwords
    rights.py      the permissions of tokens, if policies are enforced
    store.py       all repositories; each is an OCI image layout (repository.py)
    manifests.py   the content of a manifest
    lifecycle.py   which images have expired
    references.py  the images of functions and jobs

Repositories, their settings and policies stay in the emulator's own records.
"""

from __future__ import annotations

import os
from pathlib import Path

import ministack.app

from local_cloud.access.routes import is_registry_request
from local_cloud.asgi import Receive, Scope, Send
from local_cloud.ecr import image_calls
from local_cloud.ecr.layer_calls import LayerCalls
from local_cloud.ecr.registry import Registry
from local_cloud.ecr.store import RepositoryStore
from local_cloud.ecr.tokens import Tokens
from local_cloud.patches import Original, replaces

__all__ = ["Ecr", "is_registry_request"]


class Ecr:
    """The parts of ECR; `endpoint` is the cloud's URL."""

    def __init__(self, endpoint: str) -> None:
        self.store = RepositoryStore(Path(os.environ["STATE_DIR"]).parent / "ecr")
        tokens = Tokens()
        self._layer_calls = LayerCalls(self.store, tokens, endpoint)
        self._registry = Registry(self.store, tokens, endpoint)

    def install(self) -> None:
        """Put the API calls into the emulator."""
        image_calls.install(self.store)
        self._layer_calls.install()
        self.store.keep_tidy()

    def serve(self) -> None:
        """Put the registry in front of the emulator: pushes bypass everything installed so far."""

        @replaces(ministack.app, "app")
        async def with_registry(serve: Original, scope: Scope, receive: Receive, send: Send) -> None:
            if is_registry_request(scope):
                await self._registry(scope, receive, send)
            else:
                await serve(scope, receive, send)
