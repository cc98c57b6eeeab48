"""`make prove-on-aws` leaves nothing behind when an example fails, nor when it is interrupted.

`test_examples.py` runs the cases themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from tests import examples
from tests.cloud.embedded import CloudUnderTest
from tests.proof.__main__ import embedded, prove
from tests.proof.cases import Case
from tests.proof.place import Place

pytestmark = pytest.mark.cloud


def test_what_an_interrupted_proof_has_deployed_is_removed_and_the_evidence_kept(
    cloud: CloudUnderTest, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if not examples.busybox_layers():
        pytest.skip("a static busybox is needed (Debian: apt install busybox-static)")
    existed = []

    def interrupted(place: Place, tag: str) -> None:
        place.put("scar-words", f"texts/{tag}.txt")
        (function,) = place.deployed("single-function")
        existed.extend([place.bucket("scar-words"), function["log_group"]])
        raise KeyboardInterrupt

    def never(*_: object) -> None:
        raise AssertionError("it ran after the interruption")

    with mock.patch.dict(os.environ, cloud.environment(), clear=True):
        account = embedded(cloud.client, cloud.endpoint, None, tmp_path)
        # The first cannot be deployed, as its secrets are in no environment: the proof goes on.
        cases = [
            Case("several-providers", never),
            Case("single-function", interrupted),
            Case("filters", never),
        ]
        code = prove(account, cases, tmp_path / "report")
    assert code == 130
    said = capfd.readouterr().out
    assert "Removing what was deployed" in said
    evidence = json.loads((tmp_path / "report" / "proof.json").read_text())
    failed, stopped = evidence["rows"]
    assert (failed["example"], failed["outcome"]) == ("several-providers", "failed")
    assert "LAB_MINIO" in failed["reason"]
    assert (stopped["example"], stopped["outcome"]) == ("single-function", "interrupted")
    assert [failed["left"], stopped["left"]] == [[], []]
    assert stopped["deployed_s"] > 0
    bucket, log_group = existed
    with pytest.raises(ClientError):
        cloud.client("s3").head_bucket(Bucket=bucket)
    groups = cloud.client("logs").describe_log_groups(logGroupNamePrefix=log_group)["logGroups"]
    assert groups == []
    assert account.place.run is not None
    stacks = cloud.client("cloudformation").describe_stacks()["Stacks"]
    assert [one["StackName"] for one in stacks if one["StackName"].endswith(account.place.run)] == []
    assert "| single-function | interrupted |" in (tmp_path / "report" / "proof.md").read_text()


@pytest.mark.parametrize(
    ("variables", "words", "code", "said"),
    [
        ({}, (), 2, "Use --yes to skip the confirmation"),
        ({"AWS_ENDPOINT_URL": "the cloud's"}, (), 2, "which is not AWS"),
        ({}, ("--only", "single-function,nothing"), 2, "unknown example: nothing"),
    ],
)
def test_nothing_is_deployed_unasked(
    cloud: CloudUnderTest, variables: dict[str, str], words: tuple[str, ...], code: int, said: str
) -> None:
    environment = cloud.environment()
    if "AWS_ENDPOINT_URL" not in variables:
        # The services' own variables: as if the account were AWS's.
        endpoint = environment.pop("AWS_ENDPOINT_URL")
        environment |= {f"AWS_ENDPOINT_URL_{service}": endpoint for service in ("STS", "S3", "SSM")}
    before = len(cloud.client("cloudformation").describe_stacks()["Stacks"])
    done = subprocess.run(
        [sys.executable, "-m", "tests.proof", *words],
        cwd=examples.REPOSITORY,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    if "--yes" in said:
        assert "Estimated cost: at most USD" in done.stdout
        assert "several-providers    skipped: it needs a MinIO" in done.stdout
    assert len(cloud.client("cloudformation").describe_stacks()["Stacks"]) == before
