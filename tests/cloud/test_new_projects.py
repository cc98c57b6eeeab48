"""What `scar new` writes deploys as it is, without a network, and processes files.

All of it is deployed at once, since starting the CDK takes most of the time. The template `function` is
deployed by its own `cdk.json` in test_installed_package.py.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scar_cli.commands.new import KINDS
from tests.cloud.cdk_cli import Cdk
from tests.cloud.embedded import SCAR, CloudUnderTest, keys, until
from tests.cloud.scar_command import Scar

pytestmark = pytest.mark.cloud

TEXT = b"The cat and the dog. And, THE end\n"


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each template, as `scar new` leaves it."""
    top = tmp_path_factory.mktemp("projects")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    kinds = [kind for kind in KINDS if kind != "function"]
    for kind in kinds:
        subprocess.run([*SCAR, "new", f"new-{kind}", "-t", kind], cwd=top, env=environment, check=True)
    return {kind: top / f"new-{kind}" for kind in kinds}


@pytest.fixture(scope="module")
def deployed(
    cloud: CloudUnderTest, projects: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Scar:
    """All of them in one deployment."""
    Cdk(cloud.environment(), tmp_path_factory.mktemp("cdk.out"))(
        "deploy",
        projects["batch"].parent,
        *("--app", f"{sys.executable} -m tests.cloud.examples_app", "--all", "--concurrency", "4"),
        registry_mirrors="",
    )
    return Scar(cloud)


def results(scar: Scar, bucket: str, *expected: str) -> list[bytes]:
    s3 = scar.cloud.client("s3")
    until(lambda: set(expected) - set(keys(scar.cloud, bucket, "")), lambda missing: not missing, 120)
    return [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in expected]


def test_workflow_runs_its_second_function_on_each_part(deployed: Scar) -> None:
    deployed.put("new-workflow-files", "input/n.txt", "".join(f"{n}\n" for n in range(1, 26)).encode())
    names = [f"output/n.txt.aaa{letter}.words" for letter in "abc"]
    counted = results(deployed, "new-workflow-files", *names)
    assert [len(table.splitlines()) for table in counted] == [10, 10, 5]


def test_batch_runs_a_job(deployed: Scar) -> None:
    deployed.put("new-batch-files", "input/a.txt", TEXT)
    (packed,) = results(deployed, "new-batch-files", "output/a.txt.gz")
    assert gzip.decompress(packed) == TEXT


def test_http_answers_a_signed_request(deployed: Scar, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT)
    answer = deployed("invoke", "-n", "new-http", "-db", str(tmp_path / "a.txt")).stdout
    assert json.loads(answer) == {"bytes": len(TEXT), "sha256": hashlib.sha256(TEXT).hexdigest()}
