"""An object that a killed cloud had written has its notification delivered at the next start, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json, os, sys
folder, moment = sys.argv[1:]
os.environ.update(S3_PERSIST="1", S3_DATA_DIR=folder + "/s3", GATEWAY_PORT="4566")
from pathlib import Path
from local_cloud.s3 import writes as s3_writes
from local_cloud.state import answers
from local_cloud.state.store import Store
from ministack.services import s3
store = Store(Path(folder) / "state.db")
s3_writes.install()
answers.install(store)
s3._fire_s3_event = lambda bucket, key, event, *details, **more: print(json.dumps([bucket, key, event, more]))
if "files" not in s3._buckets:
    s3._create_bucket("files", b"", {})
s3._bucket_notifications["files"] = "<NotificationConfiguration/>"
if moment == "next start":
    answers.deliver_interrupted(store)
else:
    request = answers._ServedRequest()
    answers._request.set(request)
    if moment == "before the object is written":
        s3._persist_object = lambda *_: os._exit(9)
    assert s3._put_object("files", "folder/key", b"content", {})[0] == 200
    if moment == "after the notification":
        request.deliver(store)
    os._exit(9)  # as by SIGKILL
"""


def notified(folder: Path, moment: str) -> list[list[object]]:
    """The notifications that are delivered at the start after a kill."""
    folder.mkdir(exist_ok=True)
    for one, code in ((moment, 9), ("next start", 0)):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder), one],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "LOG_LEVEL": "ERROR"},
        )
        assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_notification_is_delivered_at_the_next_start_if_its_object_was_written(tmp_path: Path) -> None:
    (told,) = notified(tmp_path, "before the notification")
    assert told[:3] == ["files", "folder/key", "s3:ObjectCreated:Put"]


def test_it_is_not_delivered_without_its_object_or_twice(tmp_path: Path) -> None:
    assert notified(tmp_path / "a", "before the object is written") == []
    assert notified(tmp_path / "b", "after the notification") == []
