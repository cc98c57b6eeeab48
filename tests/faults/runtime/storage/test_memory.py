"""A large file goes through with flat memory. Measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.runtime.storage.conftest import S3Server
from tests.unit.runtime.storage.places import SPACE
from tests.unit.runtime.storage.servers import LOGIN, PASSWORD, TOKEN

SIZE = 50 * 1024 * 1024
ALLOWED = 24 * 1024 * 1024
PROGRAM = """
import json, resource, sys
from pathlib import Path
from runtime.config import StorageConnection
from runtime.storage import StoredObject, Upload, kinds
name, settings, bucket, folder = json.loads(sys.argv[1])
folder = Path(folder)
opened = kinds._connected(StorageConnection(name, {}), settings)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
opened.upload([Upload(folder / "small", bucket, "small", 5)])
before = peak()
opened.upload([Upload(folder / "large", bucket, "large", (folder / "large").stat().st_size)])
source = StoredObject(bucket, "large", provider=name)
opened.download(source, folder / "back", on_size=lambda _: None)
print(peak() - before)
"""


@pytest.mark.parametrize("kind", ["webdav", "onedata", "minio"])
def test_large_file_goes_up_and_down_with_flat_memory(
    kind: str, request: pytest.FixtureRequest, aws_environment: dict[str, str], tmp_path: Path
) -> None:
    settings: dict[str, Any]
    bucket = "out"
    if kind == "minio":
        server: S3Server = request.getfixturevalue("s3_server")
        bucket = server.bucket()
        settings = {
            "endpoint": server.endpoint,
            "access_key": server.access_key,
            "secret_key": server.secret_key,
        }
    elif kind == "webdav":
        url = request.getfixturevalue("dav").url
        settings = {"hostname": url, "login": LOGIN, "password": PASSWORD}
    else:
        url = request.getfixturevalue("onedata").url
        settings = {"oneprovider_host": url, "token": TOKEN, "space": SPACE}
    (tmp_path / "small").write_bytes(b"small")
    content = os.urandom(1024) * (SIZE // 1024)
    (tmp_path / "large").write_bytes(content)
    order = json.dumps([f"{kind}.x", settings, bucket, str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, order], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "back").read_bytes() == content
    assert int(done.stdout) < ALLOWED
