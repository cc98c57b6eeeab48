"""Functions in several regions: a stack for each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fdl_schemas.model import Container, Function, StorageEntry, Workflow
from scar_constructs.deployment import Deployment, DeploymentError
from scar_constructs.regions import in_an_order_without_circles, split_by_region
from tests.synth.synthesized import nag

IRELAND, OREGON = "eu-west-1", "us-west-2"


def function(name: str, region: str | None, read: str | None, write: str | None = None) -> Function:
    def entries(path: str | None) -> tuple[StorageEntry, ...]:
        if path is None:
            return ()
        bucket, _, folder = path.partition("/")
        return (StorageEntry(bucket, folder),)

    return Function(
        name=name,
        region=region,
        container=Container(image="alpine"),
        inputs=entries(read),
        outputs=entries(write),
    )


def workflow(*functions: Function) -> Workflow:
    return Workflow(source=Path("/x/w.yaml"), functions=functions)


TWO = workflow(
    function("here", None, "start/in", "far/in"),
    function("there", IRELAND, "far/in", "start/out"),
    function("there-too", IRELAND, "far/more", "end/out"),
)


def test_no_region_and_one_region_are_one_stack() -> None:
    assert [part.region for part in split_by_region(workflow(function("f", None, "a")), OREGON)] == [None]
    (part,) = split_by_region(workflow(function("f", IRELAND, "a"), function("g", IRELAND, "b")), OREGON)
    assert (part.region, part.suffix, part.foreign_buckets) == (IRELAND, "", ())


def test_deployments_region_is_one_region_said_or_unsaid() -> None:
    (part,) = split_by_region(workflow(function("f", IRELAND, "a"), function("g", None, "b")), IRELAND)
    assert (part.region, part.suffix) == (IRELAND, "")


def test_buckets_belong_to_the_stack_that_reads_them() -> None:
    here, there = split_by_region(TWO, OREGON)
    assert (here.region, here.suffix, here.foreign_buckets, here.needs) == (OREGON, "", ("far",), (1,))
    assert (there.region, there.suffix, there.foreign_buckets) == (IRELAND, "-eu-west-1", ("start",))
    assert [one.name for one in there.workflow.functions] == ["there", "there-too"]


def test_stacks_that_write_to_each_other_are_ordered_without_a_circle() -> None:
    assert list(in_an_order_without_circles(split_by_region(TWO, OREGON))) == [(0, 1)]


def test_a_bucket_read_from_two_regions_is_an_error_that_says_so() -> None:
    with pytest.raises(DeploymentError) as caught:
        split_by_region(workflow(function("f", IRELAND, "a/x"), function("g", OREGON, "a/y")), None)
    text = str(caught.value)
    assert "bucket a is read by function f in eu-west-1 and by function g in us-west-2" in text
    assert "use a separate bucket for each region" in text


def test_a_topic_may_feed_two_regions() -> None:
    entry = StorageEntry("public", topic_arn="arn:aws:sns:us-east-1:1:t")
    parts = split_by_region(
        workflow(*(replace(function(name, name, None), inputs=(entry,)) for name in (IRELAND, OREGON))), None
    )
    assert [part.suffix for part in parts] == ["-eu-west-1", "-us-west-2"]


def test_two_stacks_each_with_its_own_buckets(tmp_path: Path) -> None:
    from aws_cdk import App

    from scar_constructs.app import feature_flags
    from scar_constructs.workflow_stack import add_stacks

    app = App(
        outdir=str(tmp_path),
        context=feature_flags(),
        analytics_reporting=False,
        builtin_cloud_formation_validation=False,
    )
    deployment = Deployment(fdl=Path("w.yaml"), stack_name="w", distributed_launch=True)
    add_stacks(app, TWO, deployment, OREGON)
    app.synth()
    templates = {
        name: json.loads((tmp_path / f"{name}.template.json").read_text()) for name in ("w", "w-eu-west-1")
    }
    made = {
        name: [
            found["Properties"]["BucketName"]
            for found in template["Resources"].values()
            if found["Type"] == "AWS::S3::Bucket"
        ]
        for name, template in templates.items()
    }
    assert made == {"w": ["start"], "w-eu-west-1": ["far", "end"]}
    folders = {
        json.dumps(found["Properties"]["BucketName"]): found["Properties"]["Folders"]
        for template in templates.values()
        for found in template["Resources"].values()
        if found["Type"] == "Custom::ScarBucketFolders"
    }
    assert sorted(folders.values()) == [["in", "more"], ["in", "out"], ["out"]]
    assert "arn:aws:s3:::far/in/*" in json.dumps(templates["w"])
    manifest = json.loads((tmp_path / "manifest.json").read_text())["artifacts"]
    assert manifest["w"]["environment"] == "aws://unknown-account/us-west-2"
    assert manifest["w-eu-west-1"]["environment"] == "aws://unknown-account/eu-west-1"
    assert "w-eu-west-1" in manifest["w"]["dependencies"]
    assert "Fn::ImportValue" not in json.dumps(templates)
    launches = {
        name: [
            found["Properties"]["StateMachineName"]
            for found in template["Resources"].values()
            if found["Type"] == "AWS::StepFunctions::StateMachine"
        ]
        for name, template in templates.items()
    }
    assert launches == {
        "w": ["scar-launch-here"],
        "w-eu-west-1": ["scar-launch-there", "scar-launch-there-too"],
    }
    assert nag(app) == []
