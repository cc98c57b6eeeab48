"""Buckets: made or there already, kept or destroyed, with or without suffix."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fdl_schemas.load import load_workflow
from tests.oci_images import Image, docker_save
from tests.synth.synthesized import Synthesize, Synthesized

KEY = "arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"
ANOTHER_KEY = "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
FDL = """
functions:
  aws:
  - lambda:
      name: encrypted
      deployment: {bucket: images}
      container: {image_file: image.tar}
      execution_mode: lambda-batch
      input: [{storage_provider: s3, path: ours/in}]
      output: [{storage_provider: s3, path: theirs/out}, {storage_provider: s3, path: plain/out}]
"""


@pytest.fixture(scope="module")
def encrypted(synthesize: Synthesize, tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    """Buckets with KMS keys: a new one, an existing one, and the one that the image is copied to."""
    folder = tmp_path_factory.mktemp("encrypted")
    docker_save(folder / "image.tar", Image([]))
    (folder / "w.yaml").write_text(FDL)
    keys = {"ours": KEY, "theirs": ANOTHER_KEY, "images": KEY}
    return synthesize(load_workflow(folder / "w.yaml"), existing_buckets=["theirs"], bucket_keys=keys)


def keys_of(synthesized: Synthesized, role: str) -> dict[str, list[str]]:
    """What a role may do with each key, through S3 of its region only."""
    found: dict[str, list[str]] = {}
    for statement in synthesized.statements(role):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        if actions[0].startswith("kms:"):
            via = {"Fn::Join": ["", ["s3.eu-west-1.", {"Ref": "AWS::URLSuffix"}]]}
            assert statement["Condition"] == {"StringEquals": {"kms:ViaService": via}}
            keys = statement["Resource"]
            found |= dict.fromkeys(keys if isinstance(keys, list) else [keys], actions)
    return found


@pytest.mark.parametrize("role", ["encryptedRole", "encryptedBatchJobRole"])
def test_functions_and_jobs_may_use_the_keys_of_their_buckets(encrypted: Synthesized, role: str) -> None:
    assert keys_of(encrypted, role) == {
        KEY: ["kms:Decrypt"],
        ANOTHER_KEY: ["kms:Decrypt", "kms:GenerateDataKey"],
    }


def test_helpers_may_use_the_keys_of_the_buckets_that_they_write_to(encrypted: Synthesized) -> None:
    writing = ["kms:Decrypt", "kms:GenerateDataKey"]
    assert keys_of(encrypted, "BucketFoldersProvider") == {KEY: writing, ANOTHER_KEY: writing}
    assert keys_of(encrypted, "StagedFilesProvider") == {KEY: writing}
    assert keys_of(encrypted, "ImagesAssembler") == {KEY: ["kms:Decrypt"]}


def test_a_new_bucket_is_encrypted_with_its_key(encrypted: Synthesized) -> None:
    encryption = encrypted.one("AWS::S3::Bucket", BucketName="ours")["BucketEncryption"]
    (rule,) = encryption["ServerSideEncryptionConfiguration"]
    assert rule["BucketKeyEnabled"] is True
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}


def test_policies_with_keys_have_no_findings(encrypted: Synthesized) -> None:
    assert encrypted.findings() == []
    assert encrypted.second_opinion() == []


def resources(synthesized: Synthesized, kind: str) -> list[dict[str, Any]]:
    return [found for found in synthesized.template["Resources"].values() if found["Type"] == kind]


def test_a_made_bucket_is_closed_encrypted_and_kept(seed: Synthesized) -> None:
    (bucket,) = (one for one in resources(seed, "AWS::S3::Bucket") if "BucketName" in one["Properties"])
    properties = bucket["Properties"]
    assert properties["BucketName"] == "scar-video"
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    rules = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rules == [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    assert properties["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert bucket["DeletionPolicy"] == "RetainExceptOnCreate"
    assert bucket["UpdateReplacePolicy"] == "Retain"
    (rule,) = properties["LifecycleConfiguration"]["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


def test_a_kept_bucket_keeps_its_tls_only_policy(seed: Synthesized) -> None:
    (policy,) = (
        one
        for one in resources(seed, "AWS::S3::BucketPolicy")
        if one["Properties"]["Bucket"]["Ref"].startswith("Buckets")
    )
    assert policy["DeletionPolicy"] == "RetainExceptOnCreate"
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_destroy_deletes_and_empties_the_stacks_own_buckets_alone(rich: Synthesized) -> None:
    made = [one for one in resources(rich, "AWS::S3::Bucket") if "BucketName" in one["Properties"]]
    assert [bucket["Properties"]["BucketName"] for bucket in made] == ["data-x1", "whole-x1"]
    assert {bucket["DeletionPolicy"] for bucket in made} == {"Delete"}
    emptied = {
        json.dumps(found["BucketName"]): found["OnDelete"]
        for found in rich.of_type("Custom::ScarBucketFolders").values()
    }
    assert emptied.pop('"results"') == "keep"
    assert list(emptied.values()) == ["empty", "empty", "empty"], "the bucket of long events, too"


def test_folders_are_made_in_existing_buckets_too(rich: Synthesized) -> None:
    resource = rich.one("Custom::ScarBucketFolders", BucketName="results")
    assert resource["Folders"] == ["whole", "batch"]


def test_suffix_stands_in_the_packaged_configuration_but_not_for_existing_buckets(rich: Synthesized) -> None:
    config = json.loads((rich.package("filtered") / "function_config.json").read_text())
    assert [entry["bucket"] for entry in config["inputs"]] == ["data-x1", "data-x1"]
    assert [entry["bucket"] for entry in config["outputs"]] == ["data-x1", "results"]


def test_no_bucket_is_named_without_its_suffix(rich: Synthesized) -> None:
    text = json.dumps(rich.template)
    assert '"data"' not in text
    assert ":::data/" not in text
    assert '"whole-x1"' in text


def test_folders_come_before_notifications(rich: Synthesized) -> None:
    notifications = resources(rich, "Custom::S3BucketNotifications")
    folders = rich.of_type("Custom::ScarBucketFolders")
    assert len(notifications) == 2
    for resource in notifications:
        assert len(set(resource["DependsOn"]) & set(folders)) == 1
