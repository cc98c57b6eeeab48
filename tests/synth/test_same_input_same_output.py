"""The same workflow gives the same template and the same assets, wherever and whenever it is synthesized."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from containers.assembly.interpreter import AWS_SERVICES
from fdl_schemas.model import Workflow
from scar_constructs.deployment import Deployment
from scar_constructs.functions.runner_asset import build_runner
from scar_constructs.functions.udocker_tarball import find_udocker_tools
from tests.synth.synthesized import Synthesize, Synthesized
from tests.synth.test_udocker_tools import tarball


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_second_synthesis_is_equal(
    seed: Synthesized, synthesize: Synthesize, seed_workflow: Workflow
) -> None:
    again = synthesize(seed_workflow)
    assert again.template == seed.template
    assert sorted(path.name for path in again.folder.glob("asset.*")) == sorted(
        path.name for path in seed.folder.glob("asset.*")
    )


def test_runner_is_built_equal_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        build_runner(tmp_path / name)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_runner_holds_what_it_needs_and_little_else(tmp_path: Path) -> None:
    build_runner(tmp_path)
    files = content(tmp_path)
    assert "python/runtime/handler.py" in files
    assert "python/boto3/__init__.py" in files
    assert "python/botocore/data/endpoints.json" in files
    assert "python/six.py" in files
    assert "licenses/botocore/LICENSE.txt" in files
    assert not [name for name in files if name.endswith(".pyc") or "__pycache__" in name or "/tests/" in name]
    services = {
        Path(name).parts[3]
        for name in files
        if name.startswith("python/botocore/data/") and name.count("/") > 3
    }
    assert services == AWS_SERVICES, "as in assembled images"
    assert sum((tmp_path / name).stat().st_size for name in files) < 12_000_000


def test_udockers_tools_are_packaged_with_the_runner(
    synthesize: Synthesize, seed_workflow: Workflow, tmp_path: Path
) -> None:
    tools = tarball(tmp_path / "tools.tar.gz", {"udocker_dir/lib/libfakechroot-Debian-12-x86_64.so": b"tool"})
    found = synthesize(seed_workflow, udocker_tarball=tools)
    (library,) = found.folder.glob("asset.*/python/containers/udocker_tools/lib/*")
    assert library.read_bytes() == b"tool"


def test_a_template_that_cannot_be_deployed_says_so(seed_workflow: Workflow, tmp_path: Path) -> None:
    from aws_cdk import App

    from scar_constructs.app import feature_flags
    from scar_constructs.workflow_stack import add_stacks

    app = App(
        outdir=str(tmp_path),
        context=feature_flags(),
        analytics_reporting=False,
        builtin_cloud_formation_validation=False,
    )
    deployment = Deployment(fdl=tmp_path / "x.yaml", stack_name="workflow")
    add_stacks(app, seed_workflow, deployment, None, find_udocker_tools(None, {}))
    app.synth()
    (said,) = Synthesized(tmp_path, {}, app).said()
    assert "udocker's tools are not in the runner's package" in str(said)


def test_runner_can_be_imported_alone(tmp_path: Path) -> None:
    build_runner(tmp_path)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import boto3, runtime.handler, runtime.batch_job\n"
        "for name in ('s3', 'sqs', 'batch', 'secretsmanager', 'sts'):\n"
        "    boto3.client(name, region_name='eu-west-1')\n"
        "print(boto3.__file__, runtime.handler.__file__)\n"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(tmp_path / "python")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count(str(tmp_path)) == 2
