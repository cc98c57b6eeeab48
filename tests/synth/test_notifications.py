"""Which S3 filter an input becomes."""

from __future__ import annotations

from typing import Any

import pytest

from fdl_schemas.model import StorageEntry
from scar_constructs.storage.notifications import key_filters
from tests.synth.synthesized import Synthesized


def filters(entry: StorageEntry) -> list[tuple[str | None, str | None] | None]:
    return [None if found is None else (found.prefix, found.suffix) for found in key_filters(entry)]


def test_a_folder_is_a_prefix() -> None:
    assert filters(StorageEntry("b", "a/in")) == [("a/in/", None)]


def test_a_whole_bucket_has_no_filter() -> None:
    assert filters(StorageEntry("b")) == [None]


def test_suffixes_become_one_notification_each() -> None:
    assert filters(StorageEntry("b", "in", suffixes=(".jpg", ".png"))) == [("in/", ".jpg"), ("in/", ".png")]
    assert filters(StorageEntry("b", suffixes=(".jpg",))) == [(None, ".jpg")]


@pytest.mark.parametrize("suffixes", [(".jpg", "x.jpg"), (".jpg", ".jpg"), ("ä.jpg",), ("a b",), ("",)])
def test_suffixes_that_s3_cannot_tell_apart_are_left_to_the_runner(suffixes: tuple[str, ...]) -> None:
    assert filters(StorageEntry("b", "in", suffixes=suffixes)) == [("in/", None)]


def test_prefixes_of_base_names_are_left_to_the_runner() -> None:
    assert filters(StorageEntry("b", "in", prefixes=("x",))) == [("in/", None)]


def test_special_characters_of_a_folder_are_encoded_as_s3_wants_them() -> None:
    assert filters(StorageEntry("b", "my folder/ü")) == [("my+folder/%C3%BC/", None)]


def rules(synthesized: Synthesized, function_name: str) -> list[Any]:
    (logical_id,) = [
        name
        for name, found in synthesized.of_type("AWS::Lambda::Function").items()
        if found.get("FunctionName") == function_name
    ]
    return [
        configuration.get("Filter")
        for resource in synthesized.of_type("Custom::S3BucketNotifications").values()
        for configuration in resource["NotificationConfiguration"]["LambdaFunctionConfigurations"]
        if configuration["LambdaFunctionArn"] == {"Fn::GetAtt": [logical_id, "Arn"]}
    ]


def test_several_inputs_and_filters_of_one_function_reach_the_template(rich: Synthesized) -> None:
    found = [
        {rule["Name"]: rule["Value"] for rule in one["Key"]["FilterRules"]} for one in rules(rich, "filtered")
    ]
    assert found == [
        {"prefix": "pictures/", "suffix": ".jpg"},
        {"prefix": "pictures/", "suffix": ".png"},
        {"prefix": "words/"},
    ]
    events = [
        configuration["Events"]
        for resource in rich.of_type("Custom::S3BucketNotifications").values()
        for configuration in resource["NotificationConfiguration"]["LambdaFunctionConfigurations"]
    ]
    assert all(kinds == ["s3:ObjectCreated:*"] for kinds in events)
    assert rules(rich, "whole_bucket") == [None]
    assert rules(rich, "file_in_batch") == []
