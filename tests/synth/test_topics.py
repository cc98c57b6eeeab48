"""What of a topic's messages reaches a function: never too little, and no filter that SNS refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fdl_schemas.model import Container, Function, StorageEntry, Workflow
from tests.synth.synthesized import Synthesize

TOPIC = "arn:aws:sns:us-east-1:987654321098:new-objects"


def entry(bucket: str = "public-bucket", folder: str = "", suffixes: tuple[str, ...] = ()) -> StorageEntry:
    return StorageEntry(bucket, folder, suffixes=suffixes, topic_arn=TOPIC)


def many(count: int) -> tuple[str, ...]:
    return tuple(f".{number}" for number in range(count))


NAMED = {"bucket": {"name": ["public-bucket"]}}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([entry(folder="in")], NAMED | {"object": {"key": [{"prefix": "in/"}]}}),
        ([entry(suffixes=(".a",))], NAMED | {"object": {"key": [{"suffix": ".a"}]}}),
        ([entry(suffixes=many(9))], NAMED | {"object": {"key": [{"suffix": one} for one in many(9)]}}),
        ([entry(suffixes=many(10))], NAMED),
        ([entry(folder=f"folder-{number}") for number in range(10)], NAMED),
        ([entry(bucket=f"bucket-{number}") for number in range(38)], None),
    ],
)
def test_filter_of_a_topic(
    entries: list[StorageEntry], expected: dict[str, Any] | None, synthesize: Synthesize, tmp_path: Path
) -> None:
    function = Function(name="f", container=Container(image="alpine"), inputs=tuple(entries))
    subscription = synthesize(Workflow(source=tmp_path / "w.yaml", functions=(function,))).one(
        "AWS::SNS::Subscription"
    )
    policy = subscription.get("FilterPolicy")
    assert policy == ({"Records": {"s3": expected}} if expected is not None else None)
