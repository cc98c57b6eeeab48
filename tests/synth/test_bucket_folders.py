"""The custom resource that makes folders, run against a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.synth.custom_resources import Ask, asking, load
from tests.synth.s3_server import S3Server


@pytest.fixture
def ask(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with asking(load("bucket_folders")) as send:

        def about(kind: str, bucket: str, *folders: str, on_delete: str = "keep") -> dict[str, object]:
            return send(
                kind,
                None if kind == "Create" else bucket,
                BucketName=bucket,
                Folders=list(folders),
                OnDelete=on_delete,
            )

        yield about


@pytest.fixture
def bucket(s3_server: S3Server, request: pytest.FixtureRequest) -> str:
    name = request.node.name.replace("_", "-")[:63].strip("-")
    s3_server.client().create_bucket(Bucket=name)
    return str(name)


def keys(server: S3Server, bucket: str) -> list[str]:
    return [found["Key"] for found in server.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_missing_folders_are_made(ask: Ask, s3_server: S3Server, bucket: str) -> None:
    answer = ask("Create", bucket, "input", "a/b c")
    assert answer["Status"] == "SUCCESS"
    assert answer["PhysicalResourceId"] == bucket
    assert keys(s3_server, bucket) == ["a/b c/", "input/"]


def test_again_changes_nothing(ask: Ask, s3_server: S3Server, bucket: str) -> None:
    s3 = s3_server.client()
    s3.put_object(Bucket=bucket, Key="input/", Body=b"somebody put something here")
    assert ask("Update", bucket, "input", "output")["Status"] == "SUCCESS"
    assert s3.get_object(Bucket=bucket, Key="input/")["Body"].read() == b"somebody put something here"
    assert keys(s3_server, bucket) == ["input/", "output/"]


def test_delete_leaves_everything_in_a_kept_bucket(ask: Ask, s3_server: S3Server, bucket: str) -> None:
    s3_server.client().put_object(Bucket=bucket, Key="input/file", Body=b"x")
    assert ask("Delete", bucket, "input")["Status"] == "SUCCESS"
    assert keys(s3_server, bucket) == ["input/file"]


def test_delete_empties_a_bucket_that_goes_too(ask: Ask, s3_server: S3Server, bucket: str) -> None:
    s3 = s3_server.client()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for number in range(3):
        s3.put_object(Bucket=bucket, Key="input/file", Body=bytes(number))
    s3.delete_object(Bucket=bucket, Key="input/file")
    assert ask("Delete", bucket, "input", on_delete="empty")["Status"] == "SUCCESS"
    s3.delete_bucket(Bucket=bucket)  # succeeds on an empty bucket alone


def test_a_bucket_of_folders_alone_is_tidied_so_that_it_can_go(
    ask: Ask, s3_server: S3Server, bucket: str
) -> None:
    ask("Create", bucket, "input", "a/b")
    assert ask("Delete", bucket, "input", "a/b", on_delete="tidy")["Status"] == "SUCCESS"
    assert keys(s3_server, bucket) == []


def test_a_bucket_with_a_file_is_not_tidied(ask: Ask, s3_server: S3Server, bucket: str) -> None:
    ask("Create", bucket, "input", "output")
    s3_server.client().put_object(Bucket=bucket, Key="input/file", Body=b"x")
    assert ask("Delete", bucket, "input", "output", on_delete="tidy")["Status"] == "SUCCESS"
    assert keys(s3_server, bucket) == ["input/", "input/file", "output/"]


@pytest.mark.parametrize("on_delete", ["empty", "tidy"])
def test_delete_of_a_bucket_that_is_gone_succeeds(ask: Ask, on_delete: str) -> None:
    assert ask("Delete", "never-there-was-one", "input", on_delete=on_delete)["Status"] == "SUCCESS"


def test_a_failure_is_answered_with_its_reason(ask: Ask) -> None:
    answer = ask("Create", "never-there-was-one", "input")
    assert answer["Status"] == "FAILED"
    assert "bucket never-there-was-one" in str(answer["Reason"])
    assert "NoSuchBucket" in str(answer["Reason"])
