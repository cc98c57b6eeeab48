"""What a killed cloud was writing is finished at the next start, or forgotten: never half of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local_cloud.s3.writes import finish_interrupted

OLD, NEW = {"content": "old", "type": "text/old"}, {"content": "new, and longer", "type": "text/new"}

PROGRAM = """
import json, os, sys
folder, stop_at = sys.argv[1], int(sys.argv[2])
os.environ.update(S3_PERSIST="1", S3_DATA_DIR=folder, GATEWAY_PORT="4566")
from local_cloud.s3 import writes as s3_writes
from pathlib import Path
s3_writes.finish_interrupted(Path(folder))
from ministack.services import s3
s3_writes.install()
steps = 0
def dying(call):
    def die_before(*arguments, **options):
        global steps
        steps += ".tmp" in str(arguments[0])
        if steps == stop_at:
            os._exit(9)  # as by SIGKILL
        return call(*arguments, **options)
    return die_before
if len(sys.argv) > 3:
    wanted = json.loads(sys.argv[3])
    if "files" not in s3._buckets:
        s3._create_bucket("files", b"", {})
    os.open, os.replace = dying(os.open), dying(os.replace)
    kind = {"content-type": wanted["type"]}
    answer = s3._put_object("files", "folder/key", wanted["content"].encode(), kind)
    assert answer[0] == 200, answer
else:
    record = s3._buckets["files"]["objects"].get("folder/key")
    content = s3._read_body("files", "folder/key", record).decode()
    assert record["size"] == len(content), (record, content)
    print(json.dumps({"content": content, "type": record["content_type"]}))
"""


def run(folder: Path, stop_at: int, *wanted: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(stop_at), *wanted],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "LOG_LEVEL": "ERROR"},
    )


@pytest.mark.parametrize(
    ("killed_before", "found"),
    [
        ("content is written", OLD),
        ("metadata is written", OLD),
        ("first rename", OLD),
        ("second rename", NEW),
    ],
)
def test_an_object_that_was_being_replaced_is_the_old_one_or_the_new_one(
    tmp_path: Path, killed_before: str, found: dict[str, str]
) -> None:
    steps = ["content is written", "metadata is written", "first rename", "second rename"]
    assert run(tmp_path, 0, json.dumps(OLD)).returncode == 0
    assert run(tmp_path, 1 + steps.index(killed_before), json.dumps(NEW)).returncode == 9
    done = run(tmp_path, 0)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == found
    assert list(tmp_path.rglob("*.tmp")) == []


def test_what_was_half_written_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "whole").write_text("content")
    (tmp_path / "whole.meta.json").write_text("{}")
    (tmp_path / "whole.meta.json.tmp").write_text('{"content_type": "te')
    (tmp_path / "half.tmp").write_text("con")
    (tmp_path / "gone.meta.json.tmp").write_text("{}")
    finish_interrupted(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["whole", "whole.meta.json"]
    assert (tmp_path / "whole.meta.json").read_text() == "{}"
