"""The custom resources, except for assembled images and buckets, against real servers of their services."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from scar_constructs.functions.handler_function import handler_code
from tests.synth.custom_resources import Ask, asking, load
from tests.synth.s3_server import S3Server

NOTE = b'{"stored in": "AWS Secrets Manager"}'


@pytest.fixture
def server(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Of all AWS services."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return s3_server


@pytest.fixture
def bucket(server: S3Server) -> str:
    name = f"assets-{uuid.uuid4().hex}"
    server.client().create_bucket(Bucket=name)
    server.client().put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.mark.parametrize(
    "name", ["bucket_folders", "file_system", "preheat", "staged_file", "storage_secret"]
)
def test_handler_fits_into_a_template(name: str) -> None:
    assert len(handler_code(name)) <= 4096


class StoredSecret:
    """A stack with a secret, and the deployments that change it."""

    def __init__(self, ask: Ask, server: S3Server, bucket: str) -> None:
        self.s3, self.secrets = server.client(), boto3.client("secretsmanager")
        self.bucket, self._ask, self._last = bucket, ask, ""
        self.arn = self.secrets.create_secret(Name=uuid.uuid4().hex, SecretString="made by AWS")["ARN"]

    def upload(self, content: str) -> str:
        """As the cdk command does, which looks first whether the asset is there."""
        key = f"scar-storage-stack-{content.encode().hex():0>64}.json"
        if key not in self.keys():
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=content.encode())
        return key

    def deploy(self, content: str) -> dict[str, Any]:
        """One deployment, with the clean-up of what it replaces."""
        key = self.upload(content)
        kind, before = ("Update", self._last) if self._last else ("Create", None)
        answer = self._ask(kind, before, **self._properties(key))
        if before and before != key:
            assert self._ask("Delete", before, **self._properties(before))["Status"] == "SUCCESS"
        self._last = key
        return answer

    def destroy(self) -> dict[str, Any]:
        return self._ask("Delete", self._last, **self._properties(self._last))

    def ask(self, kind: str, before: str | None, key: str) -> dict[str, Any]:
        return self._ask(kind, before, **self._properties(key))

    def _properties(self, key: str) -> dict[str, str]:
        version = key.removesuffix(".json").rpartition("-")[2]
        return {"Bucket": self.bucket, "Key": key, "SecretId": self.arn, "Version": version}

    def value(self) -> str:
        return str(self.secrets.get_secret_value(SecretId=self.arn)["SecretString"])

    def keys(self) -> list[str]:
        return [found["Key"] for found in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def objects(self) -> list[bytes]:
        """The content of every version of every object."""
        versions = self.s3.list_object_versions(Bucket=self.bucket).get("Versions", [])
        return [
            self.s3.get_object(Bucket=self.bucket, Key=one["Key"], VersionId=one["VersionId"])["Body"].read()
            for one in versions
        ]


@pytest.fixture
def stored(server: S3Server, bucket: str) -> Iterator[StoredSecret]:
    with asking(load("storage_secret")) as ask:
        yield StoredSecret(ask, server, bucket)


def test_secrets_are_stored_and_a_note_is_left_in_their_place(stored: StoredSecret) -> None:
    assert stored.deploy("one")["Status"] == "SUCCESS"
    assert stored.value() == "one"
    assert stored.objects() == [NOTE]
    assert len(NOTE) > 22  # which the cdk command takes for a failed upload


def test_changed_secrets_replace_the_older_ones(
    stored: StoredSecret, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.deploy("value-one")
    answer = stored.deploy("value-two")
    assert stored.value() == "value-two"
    assert stored.objects() == [NOTE]
    assert "value-" not in json.dumps(answer) + capsys.readouterr().out


def test_a_deployment_that_is_rolled_back_brings_the_older_secrets_back(stored: StoredSecret) -> None:
    stored.deploy("one")
    one = stored.upload("one")
    two = stored.upload("two")
    assert stored.ask("Update", one, two)["Status"] == "SUCCESS"
    assert stored.value() == "two"
    assert stored.ask("Update", two, one)["Status"] == "SUCCESS"
    assert stored.value() == "one"


def test_going_back_to_older_secrets_later_stores_them_anew(stored: StoredSecret) -> None:
    for content in ("one", "two", "one"):
        assert stored.deploy(content)["Status"] == "SUCCESS"
    assert stored.value() == "one"


def test_destroying_leaves_nothing_in_the_bucket_of_assets(stored: StoredSecret) -> None:
    stored.deploy("one")
    assert stored.destroy()["Status"] == "SUCCESS"
    assert stored.objects() == []
    assert stored.destroy()["Status"] == "SUCCESS"


def test_a_note_without_its_secret_is_taken_away_so_that_the_next_deployment_works(
    stored: StoredSecret,
) -> None:
    key = stored.upload("one")
    stored.s3.put_object(Bucket=stored.bucket, Key=key, Body=NOTE)
    answer = stored.ask("Create", None, key)
    assert answer["Status"] == "FAILED"
    assert "deploy again" in answer["Reason"]
    assert stored.keys() == []
    assert stored.deploy("one")["Status"] == "SUCCESS"


def test_an_image_file_is_copied_and_its_copy_goes_with_the_stack(server: S3Server, bucket: str) -> None:
    s3 = server.client()
    own = f"own-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=own)
    s3.put_object(Bucket=own, Key="precious", Body=b"x")
    s3.put_object(Bucket=bucket, Key="hash.tar", Body=b"an archive")
    wish = {"FromBucket": bucket, "FromKey": "hash.tar", "Bucket": own, "Key": "scar-images/f/hash.tar"}
    with asking(load("staged_file")) as ask:
        made = ask("Create", **wish)
        assert made["Status"] == "SUCCESS"
        assert s3.get_object(Bucket=own, Key="scar-images/f/hash.tar")["Body"].read() == b"an archive"
        assert ask("Delete", made["PhysicalResourceId"], **wish)["Status"] == "SUCCESS"
        missing = ask("Create", **{**wish, "Bucket": "never-there-was-one"})
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=own)["Contents"]] == ["precious"]
    assert missing["Status"] == "FAILED"
    assert "s3://never-there-was-one/scar-images/f/hash.tar" in missing["Reason"]


def test_preheating_invokes_the_function_with_the_event_that_the_runner_knows(
    server: S3Server, tmp_path: Path
) -> None:
    from runtime.handler import PREHEAT

    name, seen = f"heated-{uuid.uuid4().hex}", tmp_path / "seen"
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        program = (
            f"import json\ndef handle(event, _):\n    open({str(seen)!r}, 'a').write(json.dumps(event))\n"
        )
        archive.writestr("index.py", program)
    boto3.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/any",
        Handler="index.handle",
        Code={"ZipFile": code.getvalue()},
    )
    with asking(load("preheat")) as ask:
        assert ask("Create", FunctionName=name, Changes=["a"])["Status"] == "SUCCESS"
        assert ask("Delete", name, FunctionName=name, Changes=["a"])["Status"] == "SUCCESS"
        absent = ask("Create", FunctionName="there-is-none", Changes=[])
    assert absent["Status"] == "FAILED"
    until = time.monotonic() + 30
    while not (seen.exists() and seen.read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert json.loads(seen.read_text()) == PREHEAT


def test_the_file_system_of_an_access_point_is_found(server: S3Server) -> None:
    efs = boto3.client("efs")
    file_system = efs.create_file_system(CreationToken=uuid.uuid4().hex)["FileSystemId"]
    access_point = efs.create_access_point(ClientToken=uuid.uuid4().hex, FileSystemId=file_system)[
        "AccessPointId"
    ]
    with asking(load("file_system")) as ask:
        found = ask("Create", AccessPointId=access_point)
        assert found["Status"] == "SUCCESS"
        assert found["Data"] == {"FileSystemId": file_system}
        assert ask("Delete", found["PhysicalResourceId"], AccessPointId=access_point)["Status"] == "SUCCESS"
        missing = ask("Create", AccessPointId="fsap-0123456789abcdef0")
    assert missing["Status"] == "FAILED"
    assert missing["Reason"] == "access point fsap-0123456789abcdef0: does not exist"
