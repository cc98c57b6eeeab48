"""The runner's second tier on this machine: an S3 server on loopback, its objects beside everything else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[1]


@contextmanager
def loopback_s3(folder: Path) -> Iterator[Mapping[str, str]]:
    """A server that keeps its objects in `folder`; gives the environment of a runner that uses it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.object_server", str(folder)],
        cwd=_REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield {
            **os.environ,
            "AWS_ENDPOINT_URL_S3": process.stdout.readline().strip(),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "SCAR_IMAGE_CACHE": "s3://cache",
        }
    finally:
        process.stdin.close()
        process.wait()
