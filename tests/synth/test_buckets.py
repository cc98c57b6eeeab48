"""Buckets: made or there already, kept or destroyed, with or without suffix."""

from __future__ import annotations

import json
from typing import Any

from tests.synth.synthesized import Synthesized


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
