"""The seed document's workflow: what its template holds."""

from __future__ import annotations

import json
from collections import Counter

from tests.synth.synthesized import Synthesized

EXPECTED_RESOURCES = {
    "AWS::Batch::ComputeEnvironment": 1,
    "AWS::Batch::JobDefinition": 1,
    "AWS::Batch::JobQueue": 1,
    "AWS::EC2::InternetGateway": 1,
    "AWS::EC2::Route": 2,
    "AWS::EC2::RouteTable": 2,
    "AWS::EC2::SecurityGroup": 1,
    "AWS::EC2::Subnet": 2,
    "AWS::EC2::SubnetRouteTableAssociation": 2,
    "AWS::EC2::VPC": 1,
    "AWS::EC2::VPCEndpoint": 1,
    "AWS::EC2::VPCGatewayAttachment": 1,
    "AWS::ECR::Repository": 1,
    "AWS::Events::Rule": 1,
    "AWS::IAM::Policy": 2,
    "AWS::IAM::Role": 7,
    "AWS::Lambda::EventInvokeConfig": 3,
    "AWS::Lambda::Function": 5,
    "AWS::Lambda::LayerVersion": 1,
    "AWS::Lambda::Permission": 2,
    "AWS::Logs::LogGroup": 6,
    "AWS::S3::Bucket": 2,
    "AWS::S3::BucketPolicy": 2,
    "AWS::SQS::Queue": 2,
    "AWS::SQS::QueuePolicy": 2,
    "Custom::S3BucketNotifications": 1,
    "Custom::ScarAssembledImage": 2,
    "Custom::ScarBucketFolders": 1,
}


def test_resources_are_these_and_no_others(seed: Synthesized) -> None:
    kinds = Counter(resource["Type"] for resource in seed.template["Resources"].values())
    assert kinds == EXPECTED_RESOURCES


def test_nothing_in_it_costs_while_nothing_runs(seed: Synthesized) -> None:
    kinds = {resource["Type"] for resource in seed.template["Resources"].values()}
    assert not kinds & {"AWS::EC2::NatGateway", "AWS::EC2::EIP", "AWS::EC2::Instance"}
    assert [endpoint["VpcEndpointType"] for endpoint in seed.of_type("AWS::EC2::VPCEndpoint").values()] == [
        "Gateway"
    ]


def test_one_bucket_feeds_both_functions_each_by_its_folder(seed: Synthesized) -> None:
    configurations = seed.one("Custom::S3BucketNotifications")["NotificationConfiguration"]
    triggers = {
        configuration["Filter"]["Key"]["FilterRules"][0]["Value"]: configuration["LambdaFunctionArn"][
            "Fn::GetAtt"
        ][0]
        for configuration in configurations["LambdaFunctionConfigurations"]
    }
    functions = {
        name: found.get("FunctionName") for name, found in seed.of_type("AWS::Lambda::Function").items()
    }
    assert {folder: functions[target] for folder, target in triggers.items()} == {
        "input/": "scar-batch-ffmpeg-split",
        "split-images/": "scar-lambda-darknet",
    }


def test_folders_that_the_workflow_names_are_made(seed: Synthesized) -> None:
    (resource,) = (one for one in seed.of_type("Custom::ScarBucketFolders").values() if one["Folders"])
    assert resource["Folders"] == ["input", "split-images", "output"]
    assert resource["OnDelete"] == "tidy"


def test_functions_run_the_shared_runner(seed: Synthesized) -> None:
    functions = [found for found in seed.of_type("AWS::Lambda::Function").values() if "FunctionName" in found]
    split, darknet = functions
    assert split["Handler"] == "runtime.handler.handle", "it only submits jobs, and needs no image"
    assert split["Runtime"] == "python3.13"
    (layer,) = seed.of_type("AWS::Lambda::LayerVersion")
    assert split["Layers"] == [{"Ref": layer}]
    assert darknet["PackageType"] == "Image"
    assert {seed.image(found["FunctionName"])["Runner"].partition("-")[0] for found in functions} == {
        seed.one("AWS::Lambda::LayerVersion")["Content"]["S3Key"].removesuffix(".zip")
    }
    assert [function["MemorySize"] for function in functions] == [512, 3008]


def test_package_holds_the_configuration_and_the_script(seed: Synthesized) -> None:
    package = seed.package("scar-lambda-darknet")
    assert sorted(path.name for path in package.iterdir()) == ["function_config.json", "init_script"]
    assert (package / "init_script").stat().st_mode & 0o111
    assert json.loads((package / "function_config.json").read_text()) == {
        "version": 1,
        "name": "scar-lambda-darknet",
        "execution_mode": "lambda",
        "log_level": "INFO",
        "timeout_s": 300,
        "timeout_threshold_s": 10,
        "init_script": "init_script",
        "extra_payload": None,
        "image": "grycap/darknet",
        "registry_credentials": None,
        "container_environment": {},
        "inputs": [
            {
                "provider": "s3",
                "bucket": "scar-video",
                "folder": "split-images",
                "prefixes": [],
                "suffixes": [],
            }
        ],
        "outputs": [
            {"provider": "s3", "bucket": "scar-video", "folder": "output", "prefixes": [], "suffixes": []}
        ],
        "storage_providers": {},
        "file_systems": [],
        "batch": None,
    }


def test_output_tells_tools_what_is_deployed(seed: Synthesized) -> None:
    delimiter, parts = seed.template["Outputs"]["ScarWorkflow"]["Value"]["Fn::Join"]
    summary = json.loads(delimiter.join(part if isinstance(part, str) else "TOKEN" for part in parts))
    assert summary["buckets"] == ["scar-video"]
    assert summary["functions"] == [
        {
            "name": "scar-batch-ffmpeg-split",
            "mode": "batch",
            "log_group": "/aws/lambda/scar-batch-ffmpeg-split",
            "failure_queue_url": "TOKEN",
            "image": "grycap/ffmpeg",
            "inputs": ["scar-video/input"],
            "outputs": ["scar-video/split-images"],
            "assembled_image": "TOKEN",
            "image_digest": "TOKEN",
            "job_queue": "TOKEN",
            "job_definition": "TOKEN",
            "batch_log_group": "/aws/batch/scar-batch-ffmpeg-split",
            "event_bucket": "TOKEN",
        },
        {
            "name": "scar-lambda-darknet",
            "mode": "lambda",
            "log_group": "/aws/lambda/scar-lambda-darknet",
            "failure_queue_url": "TOKEN",
            "image": "grycap/darknet",
            "inputs": ["scar-video/split-images"],
            "outputs": ["scar-video/output"],
            "assembled_image": "TOKEN",
            "image_digest": "TOKEN",
        },
    ]


def test_everything_that_takes_tags_is_tagged(seed: Synthesized) -> None:
    for name, resource in seed.template["Resources"].items():
        tags = resource.get("Properties", {}).get("Tags")
        if tags is not None:
            found = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
            assert found.get("createdby") == "scar", name


def test_template_holds_no_account_and_no_region(seed: Synthesized) -> None:
    manifest = json.loads((seed.folder / "manifest.json").read_text())
    assert manifest["artifacts"]["workflow"]["environment"] == "aws://unknown-account/unknown-region"
    assert "missing" not in manifest
