"""Bad FDL files: the app ends with one message, and no template."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.synth.test_app import synth

GOOD = """functions:
  aws:
    - lambda:
        name: one
        init_script: script.sh
        container:
          image: busybox
        input:
          - storage_provider: s3
            path: bucket-one/in
        output:
          - storage_provider: s3
            path: bucket-one/out
"""

BAD = {
    "not YAML": ("functions: [aws: {", r":\d+:\d+: error FDL\d+"),
    "empty": ("", r"error FDL\d+: .*empty"),
    "unknown key": (
        GOOD.replace("init_script", "initscript"),
        r":5:9: error FDL\d+: unknown key `initscript`",
    ),
    "wrong type": (GOOD.replace("name: one", "name: one\n        memory: much"), r":5:17: error FDL\d+"),
    "missing script": (GOOD.replace("script.sh", "nothing.sh"), r":5:22: error FDL\d+: .*nothing.sh"),
    "a script where an image is meant": (
        GOOD.replace("image: busybox", "image_file: script.sh"),
        r":7:23: error FDL038: `image_file` `script.sh` is not a tar file",
    ),
    "missing image": (GOOD.replace("image: busybox", "environment: {}"), r":6:9: error FDL\d+"),
    "bad bucket name": (
        GOOD.replace("path: bucket-one/in", "path: Bucket_One/in"),
        r":10:19: error FDL\d+: .*Bucket_One",
    ),
    "duplicate function": (GOOD + GOOD.partition("aws:\n")[2], r":\d+:15: error FDL\d+: .*one"),
    "loop": (GOOD.replace("bucket-one/out", "bucket-one/in"), r":13:19: error FDL\d+: .*one"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_file_gives_one_diagnostic_and_no_template(what: str, tmp_path: Path) -> None:
    text, expected = BAD[what]
    (tmp_path / "script.sh").write_text("#!/bin/sh\n")
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    run, templates = synth(tmp_path, fdl=str(file))
    assert run.returncode == 2
    assert run.stdout == ""
    assert len(re.findall(r"(error|warning) FDL", run.stderr)) == 1, run.stderr
    assert re.search(re.escape(str(file)) + ".*" + expected, run.stderr), run.stderr
    assert "Traceback" not in run.stderr
    assert templates == []


def test_missing_fdl_file_is_named(tmp_path: Path) -> None:
    run, _templates = synth(tmp_path, fdl=str(tmp_path / "nowhere.yaml"))
    assert run.returncode == 2
    assert "nowhere.yaml" in run.stderr
    assert "Traceback" not in run.stderr
