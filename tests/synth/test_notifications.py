"""Which S3 filter an input becomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdl_schemas.model import (
    BatchJob,
    Container,
    ExecutionMode,
    Function,
    MultiNode,
    QueueSettings,
    StorageEntry,
    Workflow,
)
from scar_constructs.storage.notifications import key_filters
from tests.synth.synthesized import Synthesize, Synthesized


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


def test_events_of_a_queue_are_read_in_batches_that_the_function_can_submit(
    synthesize: Synthesize, tmp_path: Path
) -> None:
    def function(name: str, *, window_s: int = 20, memory_mib: int = 512, nodes: int = 1) -> Function:
        job = BatchJob()
        if nodes > 1:
            resources = replace(job.compute_resources, type="EC2", max_v_cpus=nodes)
            job = replace(job, multi_node=MultiNode(nodes), compute_resources=resources)
        return Function(
            name=name,
            container=Container(image="alpine"),
            execution_mode=ExecutionMode.BATCH,
            memory_mib=memory_mib,
            inputs=(StorageEntry("data", name, queue=QueueSettings(2, window_s)),),
            batch=job,
        )

    workflow = Workflow(
        source=tmp_path / "w.yaml",
        functions=(
            function("all"),
            function("small", memory_mib=128),
            function("immediate", window_s=0),
            function("nodes", nodes=2),
        ),
    )
    found = synthesize(workflow).of_type("AWS::Lambda::EventSourceMapping")
    sizes = {name.removeprefix("Functions").partition("Input")[0]: one for name, one in found.items()}
    assert {name: one["BatchSize"] for name, one in sizes.items()} == {
        "all": 10_000,
        "small": 1000,
        "immediate": 10,
        "nodes": 10,
    }
