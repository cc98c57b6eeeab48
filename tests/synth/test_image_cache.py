"""The bucket in which the functions of a stack keep their images."""

from __future__ import annotations

from typing import Any

import pytest
from cfnlint import lint_file  # type: ignore[import-untyped]

import runtime.images.s3_tier
from fdl_schemas.model import (
    BatchJob,
    Container,
    ExecutionMode,
    Function,
    StorageEntry,
    Workflow,
)
from scar_constructs.deployment import Deployment, DeploymentError
from scar_constructs.image_cache import VARIABLE
from tests.synth.synthesized import Synthesize, Synthesized
from tests.synth.test_least_privilege import rights

PLACE = "<ImageCacheBucket>/*"
RIGHT = ("Allow", ("s3:GetObject", "s3:PutObject"), (PLACE,))


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    folder = tmp_path_factory.mktemp("fdl")
    archive = folder / "image.tar"
    archive.write_bytes(b"an archive")
    alpine, batch = Container(image="alpine"), BatchJob()
    functions = (
        Function(name="plain", container=alpine, inputs=(StorageEntry("data", "in"),)),
        Function(name="jobs", container=alpine, execution_mode=ExecutionMode.BATCH, batch=batch),
        Function(name="both", container=alpine, execution_mode=ExecutionMode.LAMBDA_BATCH, batch=batch),
        Function(name="archive", container=Container(image_file=archive)),
        Function(name="given", container=alpine, role_arn="arn:aws:iam::123456789012:role/theirs"),
    )
    return Workflow(source=folder / "cached.yaml", functions=functions)


@pytest.fixture(scope="module")
def cached(synthesize: Synthesize, workflow: Workflow) -> Synthesized:
    return synthesize(workflow, image_cache_days=7)


def variables(found: Synthesized, name: str) -> dict[str, Any]:
    values: dict[str, Any] = found.one("AWS::Lambda::Function", FunctionName=name)
    return dict(values.get("Environment", {}).get("Variables", {}))


def cache_bucket(found: Synthesized) -> tuple[str, dict[str, Any]]:
    ((name, bucket),) = [
        one for one in found.of_type("AWS::S3::Bucket").items() if one[0].startswith("ImageCache")
    ]
    return name, bucket


def test_who_pulls_is_told_of_the_cache_and_may_use_it(cached: Synthesized) -> None:
    name, _ = cache_bucket(cached)
    uri = {"Fn::Join": ["", ["s3://", {"Ref": name}]]}
    assert variables(cached, "plain")["SCAR_IMAGE_CACHE"] == uri
    assert variables(cached, "both")["SCAR_IMAGE_CACHE"] == uri
    jobs = [
        {one["Name"]: one["Value"] for one in found["ContainerProperties"]["Environment"]}
        for found in cached.of_type("AWS::Batch::JobDefinition").values()
    ]
    assert [job["SCAR_IMAGE_CACHE"] for job in jobs] == [uri, uri]
    for role in ("FunctionsplainRole", "FunctionsbothRole", "FunctionsbothBatchJobRole"):
        assert RIGHT in rights(cached, role)
    assert RIGHT in rights(cached, "FunctionsjobsBatchJobRole")


def test_who_does_not_pull_has_no_right_to_it(cached: Synthesized) -> None:
    for name in ("jobs", "archive", "given"):
        assert "SCAR_IMAGE_CACHE" not in variables(cached, name)
    for role in ("FunctionsjobsRole", "FunctionsarchiveRole"):
        assert not any(PLACE in resources for _, _, resources in rights(cached, role))


def test_images_expire_parts_after_their_index(cached: Synthesized) -> None:
    _, bucket = cache_bucket(cached)
    *expiring, aborting = bucket["LifecycleConfiguration"]["Rules"]
    rules = {rule["Prefix"]: rule["ExpirationInDays"] for rule in expiring}
    assert rules == {"index/": 7, "parts/": 9, "names/": 7, "claims/": 1}
    assert aborting["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert all(rule["Status"] == "Enabled" for rule in bucket["LifecycleConfiguration"]["Rules"])


def test_the_bucket_is_private_encrypted_and_reached_by_tls(cached: Synthesized) -> None:
    name, bucket = cache_bucket(cached)
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["BucketEncryption"]
    (policy,) = [
        found
        for found in cached.of_type("AWS::S3::BucketPolicy").values()
        if found["Bucket"] == {"Ref": name}
    ]
    (denied,) = [one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Deny"]
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_bucket_goes_with_the_stack_when_no_function_can_write_any_more(cached: Synthesized) -> None:
    name, _ = cache_bucket(cached)
    assert cached.template["Resources"][name]["DeletionPolicy"] == "Delete"
    ((contents, emptied),) = [
        one
        for one in cached.of_type("Custom::ScarBucketFolders").items()
        if one[1]["BucketName"] == {"Ref": name}
    ]
    assert emptied["OnDelete"] == "empty"
    functions = [
        found
        for found in cached.template["Resources"].values()
        if "SCAR_IMAGE_CACHE" in str(found) and found["Type"] == "AWS::Lambda::Function"
    ]
    assert len(functions) == 2
    assert all(contents in found["DependsOn"] for found in functions)


def test_linters_find_nothing(cached: Synthesized) -> None:
    assert cached.findings() == []
    assert cached.said() == []
    assert [str(match) for match in lint_file(cached.folder / "workflow.template.json")] == []


def test_without_a_cache_there_is_no_trace_of_it(synthesize: Synthesize, workflow: Workflow) -> None:
    assert "ImageCache" not in str(synthesize(workflow).template)


def test_archives_alone_need_no_cache(synthesize: Synthesize, workflow: Workflow) -> None:
    archives = tuple(one for one in workflow.functions if one.container.image is None)
    alone = Workflow(source=workflow.source, functions=archives)
    assert "ImageCache" not in str(synthesize(alone, image_cache_days=7).template)


@pytest.mark.parametrize(
    ("value", "days"),
    [(None, 30), ("true", 30), (True, 30), ("false", None), (False, None), ("7", 7), (7, 7), ("", 30)],
)
def test_the_deployer_decides(value: object, days: int | None) -> None:
    context = {"fdl": "x.yaml", "image_cache": value}
    assert Deployment.from_context(context).image_cache_days == days


@pytest.mark.parametrize("value", ["no", "0", "-1", "1.5", 100_000, [7]])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(DeploymentError, match="image_cache"):
        Deployment.from_context({"fdl": "x.yaml", "image_cache": value})


def test_the_runner_reads_the_variable_that_is_written() -> None:
    """Its name stands in two rooms that may not import each other."""
    assert VARIABLE == runtime.images.s3_tier.VARIABLE
