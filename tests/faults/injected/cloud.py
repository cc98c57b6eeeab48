"""An embedded cloud behind the proxy."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
from botocore.config import Config

from local_cloud.cloud import Cloud, Running
from tests.cloud.embedded import has_ended
from tests.faults.injected.proxy import SPARED, Proxy

ADDRESS = "SCAR_TEST_ADDRESS"
"""Where the emulator listens, for `program/`."""
BEHIND = "127.0.0.2"


class FaultyCloud(Cloud):
    """A cloud whose emulator is started by `program/`, with variables that tell it which faults to add."""

    program = Path(__file__).parent / "program"

    def __init__(self, state: Path, **variables: str) -> None:
        super().__init__(state)
        self._variables = variables

    def _supervise(self, options: list[str], *, tied: bool) -> tuple[dict[str, Any], list[str]]:
        with mock.patch.dict(os.environ, self._variables):
            return super()._supervise(options, tied=tied)


class CloudBehindProxy(FaultyCloud):
    """A cloud whose emulator listens on 127.0.0.2, at the proxy's port."""

    def __init__(self, state: Path, **variables: str) -> None:
        super().__init__(state, **{ADDRESS: BEHIND, **variables})
        self.port = _free_port()

    def _choose_port(self, wanted: int | None) -> int:
        return wanted or self.port

    def proxy(self, seed: int) -> Proxy:
        """A proxy that is in front of this cloud once it serves."""
        return Proxy(("127.0.0.1", self.port), (BEHIND, self.port), seed=seed)


def spared_client(running: Running, service: str) -> Any:
    """A client of the cloud whose requests are spared from faults."""
    return boto3.client(
        service,
        endpoint_url=running.endpoint,
        region_name=running.region,
        aws_access_key_id=running.credentials.access_key_id,
        aws_secret_access_key=running.credentials.secret_access_key,
        config=Config(
            retries={"max_attempts": 10, "mode": "standard"},
            read_timeout=300,
            proxies={},
            user_agent_extra=SPARED,
            signature_version="s3v4" if service == "s3" else None,
        ),
    )


@contextmanager
def behind_proxy(state: Path, seed: int, **variables: str) -> Iterator[tuple[CloudBehindProxy, Proxy]]:
    """A cloud, not yet started, and its proxy, which serves; the cloud is stopped at the end."""
    cloud = CloudBehindProxy(state, **variables)
    with cloud.proxy(seed).serving() as proxy:
        try:
            yield cloud, proxy
        finally:
            cloud.stop()


def kill_emulator(cloud: Cloud) -> None:
    """SIGKILL, and wait until the supervisor has cleaned up and ended."""
    running = cloud.running()
    assert running is not None
    os.kill(running.emulator_pid, signal.SIGKILL)
    while cloud.running() is not None or not has_ended(running.pid):
        time.sleep(0.02)


def kill_supervisor(cloud: Cloud) -> None:
    """SIGKILL. The emulator notices it, saves its state, and ends on its own."""
    running = cloud.running()
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    while not has_ended(running.pid):
        time.sleep(0.02)


def _free_port() -> int:
    while True:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = int(server.getsockname()[1])
        try:
            with socket.create_server((BEHIND, port)):
                return port
        except OSError:
            continue
