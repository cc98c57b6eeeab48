"""Batch: compute environment, queue and job definition of one function."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdl_schemas.model import BatchJob, ComputeResources, Container, ExecutionMode, Function, Workflow
from fdl_schemas.rules.environment import MAX_JOB_ENVIRONMENT_BYTES
from tests.synth.synthesized import Synthesize, Synthesized


def definition(synthesized: Synthesized, name: str) -> dict[str, Any]:
    (found,) = [
        properties
        for properties in synthesized.of_type("AWS::Batch::JobDefinition").values()
        if properties["ContainerProperties"]["LogConfiguration"]["Options"]["awslogs-stream-prefix"] == name
    ]
    return found


def environment(job: dict[str, Any]) -> dict[str, Any]:
    return {entry["Name"]: entry["Value"] for entry in job["ContainerProperties"]["Environment"]}


def test_job_runs_in_the_assembled_image_of_its_function(seed: Synthesized) -> None:
    job = definition(seed, "scar-batch-ffmpeg-split")
    container = job["ContainerProperties"]
    assert container["Command"] == ["batch"]
    resource, attribute = container["Image"]["Fn::GetAtt"]
    assert attribute == "ImageUri"
    properties = seed.template["Resources"][resource]["Properties"]
    assert properties["FunctionName"] == "scar-batch-ffmpeg-split"
    assert container["NetworkConfiguration"] == {"AssignPublicIp": "ENABLED"}
    assert job["PlatformCapabilities"] == ["FARGATE"]
    assert job["RetryStrategy"] == {"Attempts": 2}
    assert job["Timeout"] == {"AttemptDurationSeconds": 86400}


def test_job_definition_stays_below_the_limit_of_batch(rich: Synthesized) -> None:
    for job in rich.of_type("AWS::Batch::JobDefinition").values():
        assert len(json.dumps(job)) < 24 * 1024


def test_job_definition_with_the_largest_environment_stays_below_the_limit_of_batch(
    synthesize: Synthesize,
) -> None:
    workflow = batch_function(ComputeResources())
    (function,) = workflow.functions
    assert function.batch is not None
    most = {"WORDS": "w" * (MAX_JOB_ENVIRONMENT_BYTES - len('[{"name":"WORDS","value":""}]'))}
    full = replace(function, batch=replace(function.batch, environment=most))
    found = synthesize(replace(workflow, functions=(full,))).one("AWS::Batch::JobDefinition")
    assert len(json.dumps(found)) < 24 * 1024


def test_job_gets_the_same_package_that_lambda_runs(seed: Synthesized) -> None:
    code = seed.one("AWS::Lambda::Function", FunctionName="scar-batch-ffmpeg-split")["Code"]
    package = seed.image("scar-batch-ffmpeg-split")["Package"]["Fn::Sub"]
    assert package == f"s3://{code['S3Bucket']['Fn::Sub']}/{code['S3Key']}"


def test_function_knows_its_queue_and_definition(seed: Synthesized) -> None:
    variables = seed.one("AWS::Lambda::Function", FunctionName="scar-batch-ffmpeg-split")["Environment"][
        "Variables"
    ]
    (queue,) = seed.of_type("AWS::Batch::JobQueue")
    (job,) = seed.of_type("AWS::Batch::JobDefinition")
    (events,) = (name for name in seed.of_type("AWS::S3::Bucket") if name.startswith("Events"))
    assert variables == {
        "SCAR_EVENT_BUCKET": {"Ref": events},
        "SCAR_JOB_QUEUE": {"Fn::GetAtt": [queue, "JobQueueArn"]},
        "SCAR_JOB_DEFINITION": {"Ref": job},
    }


def test_settings_arrive(rich: Synthesized) -> None:
    job = definition(rich, "from_file")
    needs = {need["Type"]: need["Value"] for need in job["ContainerProperties"]["ResourceRequirements"]}
    assert needs == {"VCPU": "0.5", "MEMORY": "3072"}
    assert job["RetryStrategy"] == {"Attempts": 3}
    assert job["Timeout"] == {"AttemptDurationSeconds": 120}
    variables = environment(job)
    assert variables["JOB"] == "1"
    assert not any(name.startswith("SCAR_") for name in variables)


def test_a_disabled_queue_takes_no_jobs(rich: Synthesized) -> None:
    states = [found["State"] for found in rich.of_type("AWS::Batch::JobQueue").values()]
    assert states == ["ENABLED", "DISABLED"]
    assert [found["State"] for found in rich.of_type("AWS::Batch::ComputeEnvironment").values()] == states


def test_all_queues_share_one_network(rich: Synthesized) -> None:
    assert len(rich.of_type("AWS::EC2::VPC")) == 1
    assert len(rich.of_type("AWS::Batch::ComputeEnvironment")) == 2


def test_jobs_can_be_reached_by_nobody(seed: Synthesized) -> None:
    group = seed.one("AWS::EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    assert not seed.of_type("AWS::EC2::SecurityGroupIngress")
    assert not any(subnet["MapPublicIpOnLaunch"] for subnet in seed.of_type("AWS::EC2::Subnet").values())


def test_a_job_whose_last_attempt_failed_goes_to_the_failure_queue(seed: Synthesized) -> None:
    rule = seed.one("AWS::Events::Rule")
    (queue,) = seed.of_type("AWS::Batch::JobQueue")
    assert rule["EventPattern"] == {
        "source": ["aws.batch"],
        "detail-type": ["Batch Job State Change"],
        "detail": {"status": ["FAILED"], "jobQueue": [{"Fn::GetAtt": [queue, "JobQueueArn"]}]},
    }
    failed = [
        setting["DestinationConfig"]["OnFailure"]["Destination"]
        for setting in seed.of_type("AWS::Lambda::EventInvokeConfig").values()
        if "DestinationConfig" in setting
    ]
    assert rule["Targets"][0]["Arn"] in failed


def batch_function(resources: ComputeResources) -> Workflow:
    function = Function(
        name="f",
        container=Container(image="alpine"),
        execution_mode=ExecutionMode.BATCH,
        batch=BatchJob(compute_resources=resources),
    )
    return Workflow(source=Path("/x/w.yaml"), functions=(function,))


def test_given_subnets_are_used_and_no_network_is_made(synthesize: Synthesize) -> None:
    given = ComputeResources(
        type="FARGATE_SPOT",
        max_v_cpus=8,
        subnets=("subnet-0123456789abcdef0", "subnet-0123456789abcdef1"),
        security_group_ids=("sg-0123456789abcdef0",),
    )
    synthesized = synthesize(batch_function(given))
    resources = synthesized.one("AWS::Batch::ComputeEnvironment")["ComputeResources"]
    assert resources == {
        "Type": "FARGATE_SPOT",
        "MaxvCpus": 8,
        "Subnets": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        "SecurityGroupIds": ["sg-0123456789abcdef0"],
    }
    assert not synthesized.of_type("AWS::EC2::VPC")


def test_subnets_without_security_groups_are_refused(synthesize: Synthesize) -> None:
    from scar_constructs.deployment import DeploymentError

    with pytest.raises(DeploymentError, match=r"function f: .* subnets need security_group_ids"):
        synthesize(batch_function(replace(ComputeResources(), subnets=("subnet-0123456789abcdef0",))))
