"""boto3 through the forwarder that stands between a container and the embedded cloud."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from containers import aws
from containers.engines.network.forwarding import Forwarder
from tests.unit.runtime.conftest import Bucket

MIB = 1024 * 1024


@pytest.fixture
def s3(cloud: str, aws_environment: dict[str, str]) -> Iterator[Any]:
    """A client whose endpoint is a forwarder to the emulator."""
    target = urlsplit(cloud)
    assert target.hostname is not None
    assert target.port is not None
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        port = listener.getsockname()[1]
        forwarder = Forwarder([(listener, (target.hostname, target.port))])
        try:
            yield boto3.client(
                "s3", endpoint_url=f"http://127.0.0.1:{port}", config=aws.client_config(path_style=True)
            )
        finally:
            forwarder.close()


def test_large_objects_and_many_small_ones_arrive(s3: Any, bucket: Bucket) -> None:
    large = os.urandom(MIB) * 50
    s3.put_object(Bucket=bucket.name, Key="large", Body=large)
    found = BytesIO()
    s3.download_fileobj(bucket.name, "large", found)  # ranges, in parallel
    assert found.getvalue() == large

    def there_and_back(number: int) -> bool:
        body = f"{number}".encode() * 1000
        s3.put_object(Bucket=bucket.name, Key=f"small/{number}", Body=body)
        answer = s3.get_object(Bucket=bucket.name, Key=f"small/{number}")
        return bool(answer["Body"].read() == body)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(there_and_back, range(64)))


def test_a_download_that_is_broken_off_leaves_the_others_alone(s3: Any, bucket: Bucket) -> None:
    bucket.put("large", bytes(20 * MIB))
    body = s3.get_object(Bucket=bucket.name, Key="large")["Body"]
    assert body.read(10) == bytes(10)
    body.close()
    assert s3.head_object(Bucket=bucket.name, Key="large")["ContentLength"] == 20 * MIB
