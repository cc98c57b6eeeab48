"""Templates of a few workflows, synthesized once for all tests: loading the CDK takes most of the time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fdl_schemas.model import BatchJob, Container, ExecutionMode, Function, StorageEntry, Workflow
from scar_constructs.deployment import with_real_names
from tests.synth.s3_server import S3Server, running_s3_server
from tests.synth.synthesized import Synthesize, Synthesized
from toolchain.node import choose_node

choose_node()

REPOSITORY = Path(__file__).resolve().parents[2]
SEED = REPOSITORY / "examples" / "video-process" / "scar-video-process.yaml"


@pytest.fixture(scope="session")
def synthesize(tmp_path_factory: pytest.TempPathFactory) -> Synthesize:
    """Synthesizes a workflow with the options of `WorkflowStack`."""
    from aws_cdk import App

    from scar_constructs.app import feature_flags
    from scar_constructs.workflow_stack import WorkflowStack

    def run(
        workflow: Workflow, *, context: Mapping[str, object] | None = None, **options: Any
    ) -> Synthesized:
        folder = tmp_path_factory.mktemp("cdk.out")
        app = App(
            outdir=str(folder),
            context={**feature_flags(), **(context or {})},
            analytics_reporting=False,
            builtin_cloud_formation_validation=False,
        )
        WorkflowStack(app, "workflow", workflow=workflow, **options)
        app.synth()
        return Synthesized(folder, json.loads((folder / "workflow.template.json").read_text()), app)

    return run


@pytest.fixture(scope="session")
def seed_workflow() -> Workflow:
    from fdl_schemas.load import load_workflow

    return load_workflow(SEED)


@pytest.fixture(scope="session")
def seed(synthesize: Synthesize, seed_workflow: Workflow) -> Synthesized:
    """The seed document's video workflow, as it stands."""
    return synthesize(seed_workflow)


@pytest.fixture(scope="session")
def rich_workflow(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """Many keys at once: filters, whole buckets, several inputs and outputs, an image file, a given role."""
    folder = tmp_path_factory.mktemp("fdl")
    archive = folder / "image.tar"
    archive.write_bytes(b"an archive")
    script = folder / "run.sh"
    script.write_text("#!/bin/sh\ncat $INPUT_FILE_PATH\n")
    mine = StorageEntry("data", "in/a")
    return Workflow(
        source=folder / "rich.yaml",
        functions=(
            Function(
                name="filtered",
                container=Container(image="alpine", environment={"MODE": "fast", "Ü": "ä"}),
                init_script=script,
                inputs=(
                    StorageEntry("data", "pictures", suffixes=(".jpg", ".png")),
                    StorageEntry("data", "words", prefixes=("x",), suffixes=(".txt", "s.txt")),
                ),
                outputs=(StorageEntry("data", "out"), StorageEntry("results", "")),
                environment={"KEY": "value"},
                timeout_s=60,
                memory_mib=1024,
                ephemeral_storage_mib=2048,
                log_level="DEBUG",
                log_retention_days=7,
            ),
            Function(
                name="whole_bucket",
                container=Container(image="alpine"),
                inputs=(StorageEntry("whole"),),
                outputs=(StorageEntry("results", "whole"),),
            ),
            Function(
                name="from_file",
                container=Container(image_file=archive),
                inputs=(mine,),
                outputs=(StorageEntry("data", "in-b"),),
                execution_mode=ExecutionMode.LAMBDA_BATCH,
                once=True,
                batch=BatchJob(
                    vcpus=0.5, memory_mib=3072, timeout_s=120, attempts=3, environment={"JOB": "1"}
                ),
            ),
            Function(
                name="file_in_batch",
                container=Container(image_file=archive),
                execution_mode=ExecutionMode.BATCH,
                outputs=(StorageEntry("results", "batch"),),
                batch=BatchJob(state="DISABLED"),
            ),
            Function(
                name="pulling",
                container=Container(image="alpine"),
                image_runtime=False,
                layer_arns=("arn:aws:lambda:us-east-1:123456789012:layer:tools:3",),
            ),
            Function(name="pulling_file", container=Container(image_file=archive), image_runtime=False),
            Function(
                name="given_role",
                container=Container(image="alpine"),
                inputs=(StorageEntry("data", "given"),),
                role_arn="arn:aws:iam::123456789012:role/theirs",
                description="uses a role of its owner",
                retry_attempts=0,
                reserved_concurrency=4,
                tags={"team": "blue"},
            ),
        ),
    )


@pytest.fixture(scope="session")
def rich(synthesize: Synthesize, rich_workflow: Workflow) -> Synthesized:
    """`rich_workflow` with mirrors, a bucket suffix, and one of its buckets there already."""
    return synthesize(
        with_real_names(rich_workflow, bucket_suffix="x1", existing_buckets=["results"]),
        existing_buckets=("results",),
        destroy_buckets=True,
        registry_mirrors="docker.io=file:///images",
    )


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server
