"""One FDL file deployed as two stages beside each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests import examples
from tests.cloud.embedded import CloudUnderTest, keys, until
from tests.cloud.scar_command import Scar, registry

pytestmark = pytest.mark.cloud

FDL = str(Path(__file__).resolve().parents[2] / "examples" / "single-function" / "single-function.yaml")
WITHIN_S = 60.0


@pytest.fixture
def scar(cloud: CloudUnderTest, tmp_path: Path) -> Iterator[Scar]:
    if not examples.busybox_layers():
        pytest.skip("a static busybox is needed (Debian: apt install busybox-static)")
    yield Scar(cloud, registry(tmp_path))


def put(scar: Scar, file: Path, stage: str) -> None:
    file.write_text("one two two\n")
    scar("put", "-b", "scar-words/texts", "--stage", stage, "-p", str(file))


def results(scar: Scar, stage: str, count: int) -> list[str]:
    return list(
        until(
            lambda: keys(scar.cloud, f"scar-words-{stage}", "counts/"),
            lambda found: len([key for key in found if not key.endswith("/")]) == count,
            WITHIN_S,
        )
    )


def test_two_stages_share_nothing_and_one_goes_alone(scar: Scar, tmp_path: Path) -> None:
    for stage in ("dev", "prod"):
        said = scar.process(
            "init", "-f", FDL, "--stage", stage, "-y", "-c", "removal=destroy", "-c", scar.mirrors
        )
        assert f"count-words-{stage} is deployed" in said.stdout
    put(scar, tmp_path / "for-dev.txt", "dev")
    put(scar, tmp_path / "for-prod.txt", "prod")
    assert results(scar, "dev", 1)[-1] == "counts/for-dev.txt.words"
    assert results(scar, "prod", 1)[-1] == "counts/for-prod.txt.words"

    listed = scar.json("ls", "-f", FDL, "--stage", "dev")["Functions"]
    assert [(one["Name"], one["Stack"], one["Stage"]) for one in listed] == [
        ("count-words-dev", "single-function-dev", "dev")
    ]
    assert "STAGE" in scar("ls").stdout
    assert scar("run", "-n", "count-words", "--stage", "prod", "echo", "hi").stdout == "hi\n"
    launched = json.loads(scar("run", "-f", FDL, "--stage", "prod", "-j").stdout)
    assert (launched["function"], launched["sent"]) == ("count-words-prod", 1)
    assert "for-prod.txt" in scar("ls", "-b", "scar-words/counts", "--stage", "prod").stdout

    for verb in (("ls",), ("rm", "-y")):
        refused = scar(*verb, "-f", FDL, code=2).stderr
        assert "is not deployed here without a stage. It is deployed as dev, prod: add --stage dev" in refused
    scar("rm", "-f", FDL, "--stage", "dev", "-y")
    with pytest.raises(ClientError, match="404"):
        scar.cloud.client("s3").head_bucket(Bucket="scar-words-dev")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        scar.cloud.client("lambda").get_function(FunctionName="count-words-dev")
    put(scar, tmp_path / "later.txt", "prod")
    assert "counts/later.txt.words" in results(scar, "prod", 2)
    scar("rm", "-a", "--stage", "prod", "-y")
    assert scar.json("ls", "--stage", "prod")["Functions"] == []
