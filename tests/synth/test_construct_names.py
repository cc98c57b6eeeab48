"""Functions and buckets may be called as they like, also as JavaScript and the CDK call their own things."""

from __future__ import annotations

from pathlib import Path

import pytest

from fdl_schemas.model import Container, Function, StorageEntry, Workflow
from tests.synth.synthesized import Synthesize


@pytest.mark.parametrize("name", ["constructor", "toString", "__proto__", "valueOf"])
def test_function_has_the_name_of_a_member_of_every_object(
    name: str, synthesize: Synthesize, tmp_path: Path
) -> None:
    mine = StorageEntry("constructor", "in")
    function = Function(name=name, container=Container(image="alpine"), inputs=(mine,))
    other = Function(name="other", container=Container(image="alpine"), inputs=(mine,))
    found = synthesize(Workflow(source=tmp_path / "w.yaml", functions=(function, other)))
    assert found.one("AWS::Lambda::Function", FunctionName=name)
    assert found.one("AWS::S3::Bucket", BucketName="constructor")
    assert len(found.of_type("AWS::Events::Rule")) == 2
    assert found.said() == []


def test_functions_have_the_names_of_the_children_that_are_special_to_the_cdk(
    synthesize: Synthesize, tmp_path: Path
) -> None:
    functions = tuple(
        Function(name=name, container=Container(image="alpine")) for name in ("Default", "Resource", "other")
    )
    found = synthesize(Workflow(source=tmp_path / "w.yaml", functions=functions))
    names = {one.get("FunctionName") for one in found.of_type("AWS::Lambda::Function").values()}
    assert names >= {"Default", "Resource", "other"}
    assert found.said() == []
