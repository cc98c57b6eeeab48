"""Bad FDL files with `cdk synth`. `tests/synth/test_bad_fdl.py` has all kinds of them, without the cdk."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cloud.cdk_cli import Cdk
from tests.synth.test_bad_fdl import BAD


def test_bad_file_gives_one_diagnostic_and_no_template(tmp_path: Path) -> None:
    text, expected = BAD["unknown key"]
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    (tmp_path / "script.sh").write_text("#!/bin/sh\n")
    done = Cdk({}, tmp_path / "cdk.out")("synth", file, check=False)
    assert done.returncode == 1
    said = done.stdout_and_stderr
    assert len(re.findall(r"(error|warning) FDL", said)) == 1, said
    assert re.search(re.escape(str(file)) + ".*" + expected, said), said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("cdk.out/*.template.json"))
