"""Batch: job definitions of functions, and the compute environments and queues that they share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdl_schemas.model import (
    BatchJob,
    ComputeResources,
    Container,
    ExecutionMode,
    FileSystem,
    Function,
    JobSize,
    MultiNode,
    Workflow,
)
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
    assert job["RetryStrategy"] == {
        "Attempts": 2,
        "EvaluateOnExit": [
            {"OnStatusReason": "Your Spot Task was interrupted*", "Action": "RETRY"},
            {"OnExitCode": "2", "Action": "EXIT"},
            {"OnExitCode": "124", "Action": "EXIT"},
            {"OnExitCode": "137", "Action": "EXIT"},
            {"OnReason": "OutOfMemoryError*", "Action": "EXIT"},
        ],
    }
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
    assert job["RetryStrategy"]["Attempts"] == 3
    assert job["Timeout"] == {"AttemptDurationSeconds": 120}
    variables = environment(job)
    assert variables["JOB"] == "1"
    assert variables["SCAR_MEMORY_MIB"] == "3072"
    # The table because of `once`; a job needs nothing else of the stack.
    assert {name for name in variables if name.startswith("SCAR_")} == {
        "SCAR_CLAIMS_TABLE",
        "SCAR_MEMORY_MIB",
    }


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
    (job,) = seed.of_type("AWS::Batch::JobDefinition")
    name = {"Fn::Select": [5, {"Fn::Split": [":", {"Ref": job}]}]}
    parts = [{"Ref": "AWS::Partition"}, ":batch:", {"Ref": "AWS::Region"}, ":", {"Ref": "AWS::AccountId"}]
    assert rule["EventPattern"] == {
        "source": ["aws.batch"],
        "detail-type": ["Batch Job State Change"],
        "detail": {
            "status": ["FAILED"],
            "jobDefinition": [{"prefix": {"Fn::Join": ["", ["arn:", *parts, ":", name, ":"]]}}],
            "arrayProperties": {"size": [{"exists": False}]},
            "nodeProperties": {"nodeIndex": [{"exists": False}]},
        },
    }
    failed = [
        setting["DestinationConfig"]["OnFailure"]["Destination"]
        for setting in seed.of_type("AWS::Lambda::EventInvokeConfig").values()
        if "DestinationConfig" in setting
    ]
    assert rule["Targets"][0]["Arn"] in failed


def batch_function(resources: ComputeResources, **settings: Any) -> Workflow:
    job = BatchJob(compute_resources=resources, **settings)
    return Workflow(source=Path("/x/w.yaml"), functions=(function_with(job),))


def function_with(job: BatchJob, name: str = "f", **settings: Any) -> Function:
    container = Container(image="alpine")
    return Function(name=name, container=container, execution_mode=ExecutionMode.BATCH, batch=job, **settings)


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


SUBNETS: dict[str, Any] = {
    "subnets": ("subnet-0123456789abcdef0",),
    "security_group_ids": ("sg-0123456789abcdef0",),
}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (ComputeResources(), "ENABLED"),
        (ComputeResources(**SUBNETS, assign_public_ip=False), "DISABLED"),
        (ComputeResources(**SUBNETS, assign_public_ip=True), "ENABLED"),
    ],
)
def test_jobs_have_a_public_address_where_they_need_one(
    resources: ComputeResources, expected: str, synthesize: Synthesize
) -> None:
    container = synthesize(batch_function(resources)).one("AWS::Batch::JobDefinition")["ContainerProperties"]
    assert container["NetworkConfiguration"] == {"AssignPublicIp": expected}


def test_a_reclaimed_host_does_not_count_as_the_only_attempt(synthesize: Synthesize) -> None:
    job = synthesize(batch_function(ComputeResources(type="SPOT"), attempts=1)).one(
        "AWS::Batch::JobDefinition"
    )
    assert job["RetryStrategy"] == {
        "Attempts": 10,
        "EvaluateOnExit": [
            {"OnStatusReason": "Host EC2*", "Action": "RETRY"},
            {"OnExitCode": "*", "Action": "EXIT"},
            {"OnReason": "*", "Action": "EXIT"},
            {"OnStatusReason": "*", "Action": "EXIT"},
        ],
    }


def test_a_disk_on_fargate_has_the_given_size(synthesize: Synthesize) -> None:
    job = synthesize(batch_function(ComputeResources(), ephemeral_storage_gib=100))
    container = job.one("AWS::Batch::JobDefinition")["ContainerProperties"]
    assert container["EphemeralStorage"] == {"SizeInGiB": 100}


def test_jobs_that_cannot_start_are_canceled(seed: Synthesized) -> None:
    assert seed.one("AWS::Batch::JobQueue")["JobStateTimeLimitActions"] == [
        {"Action": "CANCEL", "State": "RUNNABLE", "Reason": reason, "MaxTimeSeconds": seconds}
        for reason, seconds in (
            ("CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", 14400),
            ("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE", 600),
            ("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT", 600),
        )
    ]


def test_instances_of_the_users_choice(synthesize: Synthesize) -> None:
    given = ComputeResources(
        type="SPOT",
        min_v_cpus=1,
        desired_v_cpus=4,
        max_v_cpus=64,
        instance_types=("m5", "c5.large"),
        instance_role="ecsInstanceRole",
        launch_template_name="mine",
        **SUBNETS,
    )
    synthesized = synthesize(batch_function(given, service_role_arn="arn:aws:iam::123456789012:role/batch"))
    environment = synthesized.one("AWS::Batch::ComputeEnvironment")
    profile = environment["ComputeResources"].pop("InstanceRole")["Fn::Join"][1]
    assert profile[-1] == ":instance-profile/ecsInstanceRole"
    assert environment == {
        "Type": "MANAGED",
        "State": "ENABLED",
        "ServiceRole": "arn:aws:iam::123456789012:role/batch",
        "ReplaceComputeEnvironment": True,
        "UpdatePolicy": {"JobExecutionTimeoutMinutes": 360, "TerminateJobsOnUpdate": False},
        "Tags": {"createdby": "scar"},
        "ComputeResources": {
            "Type": "SPOT",
            "AllocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED",
            "MinvCpus": 1,
            "DesiredvCpus": 4,
            "MaxvCpus": 64,
            "InstanceTypes": ["m5", "c5.large"],
            "Ec2Configuration": [{"ImageType": "ECS_AL2023"}],
            "LaunchTemplate": {"LaunchTemplateName": "mine", "Version": "$Default"},
            "Subnets": ["subnet-0123456789abcdef0"],
            "SecurityGroupIds": ["sg-0123456789abcdef0"],
        },
    }
    job = synthesized.one("AWS::Batch::JobDefinition")
    assert job["PlatformCapabilities"] == ["EC2"]
    of_fargate = {
        "NetworkConfiguration",
        "FargatePlatformConfiguration",
        "RuntimePlatform",
        "EphemeralStorage",
    }
    assert not of_fargate & job["ContainerProperties"].keys()
    assert not synthesized.of_type("AWS::IAM::InstanceProfile")
    assert not synthesized.of_type("AWS::EC2::LaunchTemplate")


def test_a_gpu_gets_an_instance_that_has_one(synthesize: Synthesize) -> None:
    synthesized = synthesize(batch_function(ComputeResources(type="EC2", instance_types=("g4dn",)), gpus=1))
    container = synthesized.one("AWS::Batch::JobDefinition")["ContainerProperties"]
    assert {need["Type"]: need["Value"] for need in container["ResourceRequirements"]}["GPU"] == "1"
    resources = synthesized.one("AWS::Batch::ComputeEnvironment")["ComputeResources"]
    assert resources["Ec2Configuration"] == [{"ImageType": "ECS_AL2023_NVIDIA"}]
    assert resources["InstanceTypes"] == ["g4dn"]
    assert resources["AllocationStrategy"] == "BEST_FIT_PROGRESSIVE"
    assert "DesiredvCpus" not in resources, "Batch changes it, and a deployment must not change it back"


def test_instances_can_start_containers_and_containers_cannot_use_their_role(synthesize: Synthesize) -> None:
    synthesized = synthesize(batch_function(ComputeResources(type="EC2")))
    # An instance has no other way to get the image of a job.
    assert all(subnet["MapPublicIpOnLaunch"] for subnet in synthesized.of_type("AWS::EC2::Subnet").values())
    template = synthesized.one("AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    assert template["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert "ECS_AWSVPC_BLOCK_IMDS=true" in template["UserData"]["Fn::Base64"]
    (profile,) = synthesized.of_type("AWS::IAM::InstanceProfile")
    resources = synthesized.one("AWS::Batch::ComputeEnvironment")["ComputeResources"]
    assert resources["InstanceRole"] == {"Fn::GetAtt": [profile, "Arn"]}
    assert synthesized.findings() == []


def test_nodes_run_the_same_container_and_reach_each_other(synthesize: Synthesize) -> None:
    several = MultiNode(number_nodes=3, main_node_index=1)
    synthesized = synthesize(batch_function(ComputeResources(type="EC2", max_v_cpus=6), multi_node=several))
    job = synthesized.one("AWS::Batch::JobDefinition")
    assert job["Type"] == "multinode"
    assert "ContainerProperties" not in job
    (every,) = job["NodeProperties"].pop("NodeRangeProperties")
    assert job["NodeProperties"] == {"NumNodes": 3, "MainNode": 1}
    assert every["TargetNodes"] == "0:"
    assert every["Container"]["Command"] == ["batch"]
    (name,) = synthesized.of_type("AWS::EC2::SecurityGroup")
    (rule,) = synthesized.of_type("AWS::EC2::SecurityGroupIngress").values()
    assert rule["IpProtocol"] == "-1"
    assert rule["GroupId"] == rule["SourceSecurityGroupId"] == {"Fn::GetAtt": [name, "GroupId"]}
    config = json.loads((synthesized.package("f") / "function_config.json").read_text())
    assert config["batch"]["multi_node"] is True
    assert synthesized.findings() == []


def test_file_systems_are_mounted_into_jobs(synthesize: Synthesize) -> None:
    arn = "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0"
    job = BatchJob(compute_resources=ComputeResources(**SUBNETS, assign_public_ip=False))
    function = function_with(job, file_systems=(FileSystem(arn, "/mnt/data"),))
    synthesized = synthesize(Workflow(source=Path("/x/w.yaml"), functions=(function,)))
    container = synthesized.one("AWS::Batch::JobDefinition")["ContainerProperties"]
    (lookup,) = synthesized.of_type("Custom::ScarFileSystem")
    assert container["Volumes"] == [
        {
            "Name": "efs-0",
            "EfsVolumeConfiguration": {
                "FileSystemId": {"Fn::GetAtt": [lookup, "FileSystemId"]},
                "TransitEncryption": "ENABLED",
                "AuthorizationConfig": {"AccessPointId": "fsap-0123456789abcdef0", "Iam": "ENABLED"},
            },
        }
    ]
    assert container["MountPoints"] == [
        {"ContainerPath": "/mnt/data", "ReadOnly": False, "SourceVolume": "efs-0"}
    ]
    (mounting,) = (
        statement
        for statement in synthesized.statements("JobRole")
        if "elasticfilesystem:ClientMount" in statement["Action"]
    )
    assert mounting["Condition"] == {"StringEquals": {"elasticfilesystem:AccessPointArn": arn}}
    # The function only submits jobs.
    assert "FileSystemConfigs" not in synthesized.one("AWS::Lambda::Function", FunctionName="f")
    assert synthesized.findings() == []


_G4DN = ComputeResources(type="EC2", instance_types=("g4dn",))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BatchJob(compute_resources=_G4DN), BatchJob(compute_resources=_G4DN, gpus=1)),
        (BatchJob(compute_resources=_G4DN), BatchJob(compute_resources=_G4DN, multi_node=MultiNode(2))),
        (BatchJob(), BatchJob(state="DISABLED")),
        (
            BatchJob(compute_resources=ComputeResources(**SUBNETS)),
            BatchJob(
                compute_resources=ComputeResources(**SUBNETS | {"subnets": ("subnet-0123456789abcdef9",)})
            ),
        ),
    ],
)
def test_jobs_that_need_other_resources_do_not_share_a_queue(one: BatchJob, other: BatchJob) -> None:
    from aws_cdk import App, Stack

    from scar_constructs.batch.network import JobNetwork
    from scar_constructs.batch.queues import SharedQueue

    stack = Stack(App(analytics_reporting=False), "workflow")
    network = JobNetwork.of(stack)
    assert len({SharedQueue.of(stack, function_with(job), network).arn for job in (one, other)}) == 2


def test_a_hundred_functions_share_a_few_queues() -> None:
    from aws_cdk import App, Stack

    from scar_constructs.batch.network import JobNetwork
    from scar_constructs.batch.queues import SharedQueue

    app = App(analytics_reporting=False)
    stack = Stack(app, "workflow")
    kinds: list[tuple[ComputeResources, dict[str, Any]]] = [
        (ComputeResources(), {}),
        (ComputeResources(type="FARGATE_SPOT", max_v_cpus=16), {}),
        (ComputeResources(type="SPOT", max_v_cpus=7), {}),
        (ComputeResources(type="EC2", instance_types=("g4dn",)), {"gpus": 1}),
        (ComputeResources(type="EC2", max_v_cpus=8), {"multi_node": MultiNode(2)}),
    ]
    network = JobNetwork.of(stack)
    queues = set()
    for number in range(100):
        resources, settings = kinds[number % len(kinds)]
        # What does not matter to a compute environment does not make another one.
        resources = replace(resources, max_v_cpus=resources.max_v_cpus + number % 2)
        job = BatchJob(compute_resources=resources, timeout_s=600 + number, **settings)
        queues.add(SharedQueue.of(stack, function_with(job, f"f{number}"), network).arn)
    found = app.synth().get_stack_by_name("workflow").template["Resources"].values()
    environments = [one["Properties"] for one in found if one["Type"] == "AWS::Batch::ComputeEnvironment"]
    assert len(queues) == len(environments) == 5
    # Each of the 20 functions of a kind brings its own vCPUs, and every other one has one more.
    most = {(one["ComputeResources"]["Type"], one["ComputeResources"]["MaxvCpus"]) for one in environments}
    assert most == {("FARGATE", 50), ("FARGATE_SPOT", 330), ("SPOT", 150), ("EC2", 50), ("EC2", 170)}
    assert len([one for one in found if one["Type"] == "AWS::EC2::VPC"]) == 1


@pytest.mark.parametrize(
    ("vpc", "looked_up"),
    [("default", {"isDefault": "true"}), ("vpc-0123456789abcdef0", {"vpc-id": "vpc-0123456789abcdef0"})],
)
def test_an_existing_vpc_is_looked_up(vpc: str, looked_up: dict[str, str], synthesize: Synthesize) -> None:
    synthesized = synthesize(
        batch_function(ComputeResources()), vpc=vpc, account="123456789012", deployment_region="eu-west-1"
    )
    (missing,) = json.loads((synthesized.folder / "manifest.json").read_text())["missing"]
    assert missing["provider"] == "vpc-provider"
    assert missing["props"]["filter"] == looked_up
    assert missing["props"]["region"] == "eu-west-1"
    assert not synthesized.of_type("AWS::EC2::VPC")
    # Placeholders until it is looked up: a VPC with two private subnets and two public ones.
    assert synthesized.one("AWS::EC2::SecurityGroup")["VpcId"] == "vpc-12345"
    resources = synthesized.one("AWS::Batch::ComputeEnvironment")["ComputeResources"]
    assert resources["Subnets"] == ["p-12345", "p-67890"]
    job = synthesized.one("AWS::Batch::JobDefinition")["ContainerProperties"]
    assert job["NetworkConfiguration"] == {"AssignPublicIp": "DISABLED"}


def test_no_vpc_is_looked_up_that_nothing_needs(synthesize: Synthesize) -> None:
    synthesized = synthesize(batch_function(ComputeResources(**SUBNETS)), vpc="default")
    assert "missing" not in json.loads((synthesized.folder / "manifest.json").read_text())


def test_a_vpc_cannot_be_looked_up_without_an_account(synthesize: Synthesize) -> None:
    from scar_constructs.deployment import DeploymentError

    with pytest.raises(DeploymentError, match=r"-c vpc=default: .* account or region is not known"):
        synthesize(batch_function(ComputeResources()), vpc="default")


def test_two_workflows_of_a_stack_share_network_and_queue(tmp_path: Path) -> None:
    from aws_cdk import App, Stack

    from scar_constructs import ScarWorkflow

    app = App(analytics_reporting=False)
    stack = Stack(app, "workflow")
    for name in ("first", "second"):
        file = tmp_path / f"{name}.yaml"
        settings = f"name: {name}, execution_mode: batch, container: {{image: a}}"
        file.write_text(f"functions: {{aws: [{{lambda: {{{settings}}}}}]}}")
        ScarWorkflow(stack, name, fdl=file)
    types = [one["Type"] for one in app.synth().get_stack_by_name("workflow").template["Resources"].values()]
    assert types.count("AWS::Batch::JobDefinition") == 2
    assert types.count("AWS::Batch::JobQueue") == types.count("AWS::EC2::VPC") == 1


def test_failed_jobs_with_further_sizes_are_escalated(synthesize: Synthesize) -> None:
    sizes = (
        JobSize(vcpus=1, memory_mib=8192, timeout_s=600),
        JobSize(vcpus=4, memory_mib=30720, timeout_s=600),
    )
    synthesized = synthesize(batch_function(ComputeResources(max_v_cpus=4), retry=sizes))
    ((name, handler),) = (
        (name, found)
        for name, found in synthesized.of_type("AWS::Lambda::Function").items()
        if "SIZES" in found.get("Environment", {}).get("Variables", {})
    )
    assert json.loads(handler["Environment"]["Variables"]["SIZES"])[1]["memory_mib"] == 30720
    rule = synthesized.one("AWS::Events::Rule")
    assert rule["EventPattern"]["detail"]["status"] == ["FAILED"]
    assert rule["Targets"][0]["Arn"] == {"Fn::GetAtt": [name, "Arn"]}
    assert synthesized.findings() == []
