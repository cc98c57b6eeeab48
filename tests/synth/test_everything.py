"""Every key of the language has its effect in the template, or in the packaged configuration."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdl_schemas.load import check
from scar_constructs.functions.provider_settings import with_environment_values
from tests.emulator_programs import result_of
from tests.linting import lint
from tests.synth import everything
from tests.synth.service_trusts import unconditional_trusts
from tests.synth.synthesized import Synthesize, Synthesized


@pytest.fixture(scope="session")
def every(synthesize: Synthesize, tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    checked = check(everything.write(tmp_path_factory.mktemp("everything")))
    assert checked.workflow is not None, [diagnostic.render() for diagnostic in checked.diagnostics]
    workflow = with_environment_values(checked.workflow, everything.ENVIRONMENT)
    return synthesize(workflow, distributed_launch=True, dashboard=True, alarm_email="team@example.org")


def function(every: Synthesized, name: str) -> dict[str, Any]:
    return every.one("AWS::Lambda::Function", FunctionName=name)


def config(every: Synthesized, name: str) -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads((every.package(name) / "function_config.json").read_text())
    return content


def job(every: Synthesized, name: str) -> dict[str, Any]:
    (found,) = [
        properties
        for properties in every.of_type("AWS::Batch::JobDefinition").values()
        if properties["ContainerProperties"]["LogConfiguration"]["Options"]["awslogs-stream-prefix"] == name
    ]
    return found


def test_settings_of_the_function(every: Synthesized) -> None:
    found = function(every, "settings")
    assert found["Description"] == "each setting of a function"
    assert (found["MemorySize"], found["Timeout"]) == (1024, 60)
    assert found["EphemeralStorage"] == {"Size": 2048}
    assert found["ReservedConcurrentExecutions"] == 4
    assert found["RecursiveLoop"] == "Terminate"
    assert {"Key": "team", "Value": "blue"} in found["Tags"]
    assert {"Key": "createdby", "Value": "scar"} in found["Tags"]


def test_what_the_runner_needs_of_the_settings_is_packaged(every: Synthesized) -> None:
    found = config(every, "settings")
    assert (found["timeout_s"], found["timeout_threshold_s"]) == (60, 15)
    assert (found["log_level"], found["execution_mode"]) == ("DEBUG", "lambda")
    assert found["container_environment"] == {"MODE": "fast"}
    assert [(entry["prefixes"], entry["suffixes"]) for entry in found["outputs"]] == [
        (["small-"], [".jpg"]),
        ([], []),
    ]
    waiting = config(every, "goes-on-in-batch")
    assert waiting["timeout_threshold_s"] == 10
    assert waiting["batch"] == {
        "timeout_s": 120,
        "attempts": 3,
        "multi_node": False,
    }


def test_environment_of_the_function_is_not_the_containers(every: Synthesized) -> None:
    variables = function(every, "settings")["Environment"]["Variables"]
    assert variables["KEY"] == "value"
    assert "MODE" not in variables


def test_logs_of_function_and_jobs_are_kept_as_long_as_said(every: Synthesized) -> None:
    groups = {
        found["LogGroupName"]: found["RetentionInDays"]
        for found in every.of_type("AWS::Logs::LogGroup").values()
        if isinstance(found.get("LogGroupName"), str)
    }
    assert groups["/aws/lambda/settings"] == 7
    assert groups["/aws/lambda/goes-on-in-batch"] == groups["/aws/batch/goes-on-in-batch"] == 90


def test_retry_attempts(every: Synthesized) -> None:
    (logical_id,) = [
        name
        for name, found in every.of_type("AWS::Lambda::Function").items()
        if found.get("FunctionName") == "settings"
    ]
    settings = every.one("AWS::Lambda::EventInvokeConfig", FunctionName={"Ref": logical_id})
    assert settings["MaximumRetryAttempts"] == 1


def test_layers_are_added_to_the_runners(every: Synthesized) -> None:
    (runner,) = every.of_type("AWS::Lambda::LayerVersion")
    layers = function(every, "settings")["Layers"]
    assert len(layers) == 2
    assert {"Ref": runner} in layers
    assert "arn:aws:lambda:us-east-1:123456789012:layer:theirs:7" in layers


def test_arm64_reaches_function_layer_and_job(every: Synthesized) -> None:
    assert function(every, "settings")["Architectures"] == ["arm64"]
    assert function(every, "called-by-hand")["Architectures"] == ["x86_64"]
    assert every.one("AWS::Lambda::LayerVersion")["CompatibleArchitectures"] == ["x86_64", "arm64"]
    platform = job(every, "goes-on-in-batch")["ContainerProperties"]["RuntimePlatform"]
    assert platform["CpuArchitecture"] == "ARM64"


def test_extra_files_are_packaged_below_a_fixed_name(every: Synthesized) -> None:
    package = every.package("settings")
    assert (package / "extra_payload" / "weights.bin").read_bytes() == b"weights"
    assert (package / "extra_payload" / "sub" / "labels.txt").read_text() == "cat\ndog\n"
    assert config(every, "settings")["extra_payload"] == "extra_payload"
    single = every.package("given-role") / "extra_payload"
    assert [path.name for path in single.iterdir()] == ["weights.bin"]
    assert config(every, "called-by-hand")["extra_payload"] is None


def test_run_script_is_stored_nowhere(every: Synthesized) -> None:
    assert not [path for path in every.package("settings").iterdir() if path.name == "run.sh"]


def test_function_in_a_vpc(every: Synthesized) -> None:
    assert function(every, "settings")["VpcConfig"] == {
        "SubnetIds": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        "SecurityGroupIds": ["sg-0123456789abcdef0"],
    }
    about_interfaces = [
        statement
        for statement in every.statements("FunctionssettingsRole")
        if "ec2:CreateNetworkInterface" in statement["Action"]
    ]
    assert [statement["Effect"] for statement in about_interfaces] == ["Allow", "Deny"]
    condition = about_interfaces[1]["Condition"]["ArnEquals"]["lambda:SourceFunctionArn"]
    assert condition["Fn::Join"][1][-1] == ":function:settings"


def test_file_system_is_mounted_into_function_and_container(every: Synthesized) -> None:
    arn = "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0"
    assert function(every, "settings")["FileSystemConfigs"] == [{"Arn": arn, "LocalMountPath": "/mnt/data"}]
    assert config(every, "settings")["file_systems"] == ["/mnt/data"]
    (statement,) = [
        statement
        for statement in every.statements("FunctionssettingsRole")
        if "elasticfilesystem:ClientMount" in statement["Action"]
    ]
    assert statement["Action"] == ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    assert statement["Condition"] == {"StringEquals": {"elasticfilesystem:AccessPointArn": arn}}


def test_login_of_a_private_registry_is_named_and_may_be_read(every: Synthesized) -> None:
    assert config(every, "settings")["registry_credentials"] == "registry/login"
    (statement,) = [
        statement
        for statement in every.statements("FunctionssettingsRole")
        if statement["Action"] == "secretsmanager:GetSecretValue"
    ]
    assert statement["Resource"]["Fn::Join"][1][-1] == ":secret:registry/login-??????"


def test_image_in_ecr_may_be_pulled_by_the_assembler(every: Synthesized) -> None:
    (found,) = (
        statement
        for statement in every.statements("ImagesAssemblerRole")
        if "repository/team/tools" in json.dumps(statement["Resource"])
    )
    assert found["Resource"] == "arn:aws:ecr:eu-west-1:123456789012:repository/team/tools"
    assert found["Action"] == ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    assert every.image("writes-elsewhere")["Image"].startswith("123456789012.dkr.ecr.eu-west-1.")


def test_a_given_role_is_used_as_it_is(every: Synthesized) -> None:
    assert function(every, "given-role")["Role"] == "arn:aws:iam::123456789012:role/theirs"
    assert not [
        policy for policy in every.of_type("AWS::IAM::Policy").values() if "theirs" in json.dumps(policy)
    ]


def test_permissions_that_a_given_role_needs_are_in_the_template(every: Synthesized) -> None:
    (metadata,) = (
        resource["Metadata"]
        for resource in every.template["Resources"].values()
        if "scar:permissions" in resource.get("Metadata", {})
    )
    allowed = {
        action: json.dumps(statement["Resource"])
        for statement in metadata["scar:permissions"]["Statement"]
        for action in _listed(statement["Action"])
    }
    assert "FunctionsgivenroleFailureQueue" in allowed["sqs:SendMessage"]
    assert "FunctionsgivenroleLogs" in allowed["logs:PutLogEvents"]
    assert "/small/*" in allowed["s3:GetObject"]


def test_every_service_is_trusted_for_this_account_only(every: Synthesized) -> None:
    assert list(unconditional_trusts(every.template)) == []


def test_failure_queues_outlive_the_stack(every: Synthesized) -> None:
    queues = [
        found
        for name, found in every.template["Resources"].items()
        if found["Type"] == "AWS::SQS::Queue" and "FailureQueue" in name
    ]
    assert queues
    for queue in queues:
        assert queue["DeletionPolicy"] == "RetainExceptOnCreate"
        assert queue["UpdateReplacePolicy"] == "Retain"
    (of_public,) = (
        queue["Properties"]["Tags"]
        for queue in queues
        if {"Key": "scar:failures-of", "Value": "public"} in queue["Properties"]["Tags"]
    )
    assert {"Key": "createdby", "Value": "scar"} in of_public


def _listed(actions: str | list[str]) -> list[str]:
    return actions if isinstance(actions, list) else [actions]


def test_lambda_batch_has_data_image_and_job(every: Synthesized) -> None:
    variables = function(every, "goes-on-in-batch")["Environment"]["Variables"]
    assert {"SCAR_JOB_QUEUE", "SCAR_JOB_DEFINITION", "SCAR_EVENT_BUCKET"} <= set(variables)
    assert every.image("goes-on-in-batch")["Archive"]["Fn::Sub"].endswith(".tar")
    assert config(every, "goes-on-in-batch")["execution_mode"] == "lambda-batch"
    assert config(every, "goes-on-in-batch")["batch"] == {
        "timeout_s": 120,
        "attempts": 3,
        "multi_node": False,
    }
    text = json.dumps(every.statements("FunctionsgoesoninbatchRole"))
    for right in ("batch:SubmitJob", "s3:GetObject", "/long/*", "/done/*"):
        assert right in text


def test_batch_settings(every: Synthesized) -> None:
    environment = every.one("AWS::Batch::ComputeEnvironment", State="DISABLED")
    assert environment["ServiceRole"] == "arn:aws:iam::123456789012:role/batch"
    assert every.one("AWS::Batch::JobQueue", State="DISABLED")
    assert environment["ComputeResources"] == {
        "Type": "FARGATE_SPOT",
        "MaxvCpus": 8,
        "Subnets": ["subnet-0123456789abcdef0"],
        "SecurityGroupIds": ["sg-0123456789abcdef0"],
    }
    assert job(every, "goes-on-in-batch")["ContainerProperties"]["EphemeralStorage"] == {"SizeInGiB": 50}
    variables = job(every, "goes-on-in-batch")["ContainerProperties"]["Environment"]
    assert {"Name": "JOB", "Value": "1"} in variables


def test_image_file_is_copied_into_a_bucket_of_the_users_own(every: Synthesized) -> None:
    copy = every.one("Custom::ScarStagedFile")
    assert copy["Bucket"] == "bucket-of-images"
    assert copy["Key"].startswith("scar-images/staged-image/")
    assert copy["Key"].endswith(".tar")
    assert every.image("staged-image")["Archive"] == f"s3://bucket-of-images/{copy['Key']}"
    assert f":::bucket-of-images/{copy['Key']}" in json.dumps(every.statements("ImagesAssemblerRole"))


def rules(every: Synthesized, name: str) -> list[dict[str, Any]]:
    return [
        found
        for found in every.of_type("AWS::Events::Rule").values()
        if any(name in json.dumps(target["Arn"]) for target in found["Targets"])
        and found["EventPattern"]["source"] == ["aws.s3"]
    ]


def test_overlapping_inputs_go_over_event_bridge_to_all_functions(every: Synthesized) -> None:
    (first,) = rules(every, "sharedfirst")
    (second,) = rules(every, "sharedsecond")
    assert first["EventPattern"]["detail-type"] == ["Object Created"]
    assert first["EventPattern"]["detail"]["object"]["key"] == [
        {"wildcard": "in/*.txt"},
        {"wildcard": "in/*\\*.csv"},
    ]
    assert second["EventPattern"]["detail"]["object"]["key"] == [
        {"prefix": "in/deep/"},
        {"prefix": "in/deep/er/"},
        {"prefix": "elsewhere/"},
    ]
    for rule in (first, second):
        (target,) = rule["Targets"]
        assert "FailureQueue" in json.dumps(target["DeadLetterConfig"])
        assert "Ref" in rule["EventPattern"]["detail"]["bucket"]["name"][0]


def test_only_the_shared_bucket_goes_over_event_bridge(every: Synthesized) -> None:
    kinds = {
        json.dumps(found["BucketName"]): set(found["NotificationConfiguration"])
        for found in every.of_type("Custom::S3BucketNotifications").values()
    }
    assert {name.split("Buckets")[1][:8]: kind for name, kind in kinds.items()} == {
        "sharedBu": {"EventBridgeConfiguration"},
        "waitingB": {"QueueConfigurations"},
        "waitingt": {"QueueConfigurations"},
        "pictures": {"LambdaFunctionConfigurations"},
        "wordsBuc": {"LambdaFunctionConfigurations"},
    }


def test_a_topic_feeds_a_function(every: Synthesized) -> None:
    found = every.one("AWS::SNS::Subscription", TopicArn="arn:aws:sns:us-east-1:987654321098:new-scenes")
    subscribed = every.of_type("AWS::SNS::Subscription").values()
    assert sorted(one["Protocol"] for one in subscribed) == ["email", "lambda", "lambda", "sqs"]
    assert found["Protocol"] == "lambda"
    assert found["Region"] == "us-east-1"
    assert found["FilterPolicyScope"] == "MessageBody"
    assert found["FilterPolicy"] == {
        "Records": {
            "s3": {"bucket": {"name": ["public-satellite"]}, "object": {"key": [{"prefix": "scenes/"}]}}
        }
    }
    assert "FailureQueue" in json.dumps(found["RedrivePolicy"])
    assert "public-satellite/scenes/*" in json.dumps(every.statements("FunctionsfedbytopicRole"))
    assert "public-satellite" not in json.dumps(list(every.of_type("AWS::S3::Bucket").values()))
    assert config(every, "fed-by-topic")["inputs"][0]["bucket"] == "public-satellite"


def test_queue_of_a_function(every: Synthesized) -> None:
    queue = every.one("AWS::SQS::Queue", VisibilityTimeout=360)
    assert {"Key": "scar:failures-of", "Value": "with-a-queue"} in queue["Tags"]
    (resource,) = (one for one in every.template["Resources"].values() if one.get("Properties") == queue)
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == (
        "RetainExceptOnCreate",
        "Retain",
    )
    assert queue["MessageRetentionPeriod"] == 4 * 86400
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert "withaqueueFailureQueue" in json.dumps(queue["RedrivePolicy"]["deadLetterTargetArn"])
    (policy,) = (
        found
        for name, found in every.template["Resources"].items()
        if name.startswith("FunctionswithaqueueInputQueuePolicy")
    )
    assert policy["DeletionPolicy"] == "Retain"
    mapping = every.one("AWS::Lambda::EventSourceMapping", ScalingConfig={"MaximumConcurrency": 6})
    assert mapping["BatchSize"] == 1
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert "MaximumBatchingWindowInSeconds" not in mapping
    (statement,) = [
        statement
        for statement in every.statements("FunctionswithaqueueRole")
        if "sqs:ReceiveMessage" in statement["Action"]
    ]
    assert statement["Action"] == ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
    assert statement["Resource"] == mapping["EventSourceArn"]


def test_queue_in_batch_mode_is_read_in_large_batches(every: Synthesized) -> None:
    mapping = every.one("AWS::Lambda::EventSourceMapping", MaximumBatchingWindowInSeconds=60)
    assert (mapping["BatchSize"], mapping["ScalingConfig"]) == (10_000, {"MaximumConcurrency": 2})
    assert every.one("AWS::SQS::Queue", VisibilityTimeout=6 * 300 + 60)


def test_only_the_sources_of_a_queue_may_send_to_it(every: Synthesized) -> None:
    (policy,) = [
        found["PolicyDocument"]["Statement"]
        for name, found in every.of_type("AWS::SQS::QueuePolicy").items()
        if name.startswith("FunctionswithaqueueInputQueue")
    ]
    allowed = [statement for statement in policy if statement["Effect"] == "Allow"]
    by_service = {statement["Principal"]["Service"].partition(".")[0]: statement for statement in allowed}
    assert set(by_service) == {"s3", "events", "sns"}
    condition = by_service["s3"]["Condition"]
    assert condition["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert [arn["Fn::Join"][1][-1] for arn in condition["ArnEquals"]["aws:SourceArn"]] == [
        ":s3:::waiting",
        ":s3:::waiting-too",
    ]
    assert "FunctionswithaqueueFromshared" in json.dumps(by_service["events"]["Condition"])
    assert "new-clouds" in json.dumps(by_service["sns"]["Condition"])
    assert len(allowed) == 3
    (notifications,) = [
        found
        for name, found in every.template["Resources"].items()
        if name.startswith("BucketswaitingBucketNotifications")
    ]
    # S3 rejects a destination that it may not send to.
    assert len([name for name in notifications["DependsOn"] if "InputQueuePolicy" in name]) == 2


def test_existing_queue_is_read_and_not_changed(every: Synthesized) -> None:
    arn = "arn:aws:sqs:us-east-1:123456789012:new-objects"
    mapping = every.one("AWS::Lambda::EventSourceMapping", EventSourceArn=arn)
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 10}
    assert "their-bucket/in/*" in json.dumps(every.statements("FunctionsfedbytheirqueueRole"))
    assert "their-bucket" not in json.dumps(list(every.of_type("AWS::S3::Bucket").values()))
    for kind in ("AWS::SQS::QueuePolicy", "AWS::SQS::Queue"):
        assert "new-objects" not in json.dumps(list(every.of_type(kind).values()))


def test_storage_providers_are_packaged_without_secrets(every: Synthesized) -> None:
    ours = {"stack_secret": True}
    partner = {"secret": "partner/keys"}
    assert config(every, "writes-elsewhere")["storage_providers"] == {
        "minio.lab": {
            "kind": "minio",
            "endpoint": "https://minio.example.org",
            "region": "us-east-1",
            "verify": False,
            "access_key": ours,
            "secret_key": ours,
        },
        "s3.partner": {"kind": "s3", "region": "eu-west-1", "access_key": partner, "secret_key": partner},
        "webdav.home": {
            "kind": "webdav",
            "hostname": "https://dav.example.org",
            "login": ours,
            "password": ours,
        },
        "onedata.eosc": {
            "kind": "onedata",
            "oneprovider_host": "provider.example.org",
            "space": "My Space",
            "token": {"secret": "arn:aws:secretsmanager:us-east-1:123456789012:secret:onedata-AbCdEf"},
        },
    }
    assert config(every, "settings")["storage_providers"] == {}


def test_secrets_stand_in_one_private_file_and_nowhere_else(every: Synthesized) -> None:
    holding = {
        path.name
        for path in every.folder.rglob("*")
        if path.is_file() and any(secret.encode() in path.read_bytes() for secret in everything.SECRETS)
    }
    key = every.one("Custom::ScarStorageSecret")["Key"]
    assert holding == {key}
    assert (every.folder / key).stat().st_mode & 0o777 == 0o600
    assert json.loads((every.folder / key).read_text()) == {
        "minio.lab": {"access_key": "minio-access-key", "secret_key": "key-of-the-lab"},
        "webdav.home": {"login": "webdav-login", "password": "webdav-password-in-the-clear"},
    }


def test_secrets_may_be_read_by_those_who_need_them(every: Synthesized) -> None:
    (secret,) = every.of_type("AWS::SecretsManager::Secret")
    for role in ("FunctionswriteselsewhereRole", "FunctionswriteselsewhereBatchJobRole"):
        resources = [
            resource
            for statement in every.statements(role)
            if statement["Action"] == "secretsmanager:GetSecretValue"
            for resource in (
                statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            )
        ]
        assert {"Ref": secret} in resources
        text = json.dumps(resources)
        assert "secret:partner/keys-??????" in text
        assert "secret:onedata-AbCdEf" in text
        assert len(resources) == 4
    assert "secretsmanager:GetSecretValue" not in json.dumps(every.statements("FunctionspublicRole"))
    variables = function(every, "writes-elsewhere")["Environment"]["Variables"]
    assert variables["SCAR_STORAGE_SECRET"] == {"Ref": secret}
    assert {"Name": "SCAR_STORAGE_SECRET", "Value": {"Ref": secret}} in job(every, "writes-elsewhere")[
        "ContainerProperties"
    ]["Environment"]
    assert "SCAR_STORAGE_SECRET" not in json.dumps(function(every, "settings"))


def methods(every: Synthesized, name: str) -> list[dict[str, Any]]:
    return [
        found
        for logical_id, found in every.of_type("AWS::ApiGateway::Method").items()
        if logical_id.startswith(f"Functions{name}")
    ]


@pytest.mark.parametrize(
    ("name", "authorization", "key"),
    [("public", "NONE", False), ("forawsusers", "AWS_IAM", False), ("forkeyholders", "NONE", True)],
)
def test_http_endpoint_takes_get_and_post_from_whom_it_should(
    every: Synthesized, name: str, authorization: str, key: bool
) -> None:
    found = methods(every, name)
    assert {method["HttpMethod"] for method in found} == {"GET", "POST"}
    assert {method["AuthorizationType"] for method in found} == {authorization}
    assert {method["ApiKeyRequired"] for method in found} == {key}
    assert {method["Integration"]["Type"] for method in found} == {"AWS_PROXY"}


def test_http_endpoint_is_regional_throttled_logged_and_takes_any_body(every: Synthesized) -> None:
    api = every.one("AWS::ApiGateway::RestApi", Name="public-endpoint")
    assert api["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
    assert api["BinaryMediaTypes"] == ["*/*"]
    for stage in every.of_type("AWS::ApiGateway::Stage").values():
        (setting,) = stage["MethodSettings"]
        assert (setting["ThrottlingRateLimit"], setting["ThrottlingBurstLimit"]) == (20, 40)
        assert "AccessLog" in json.dumps(stage["AccessLogSetting"]["DestinationArn"])
        assert stage["StageName"] == "scar"
    assert len(every.of_type("AWS::ApiGateway::Account")) == 1


def test_http_function_may_invoke_itself_for_requests_that_nobody_waits_for(every: Synthesized) -> None:
    def invokes(role: str) -> list[str]:
        return [
            statement["Resource"]["Fn::Join"][1][-1]
            for statement in every.statements(role)
            if statement["Action"] == "lambda:InvokeFunction"
        ]

    assert invokes("FunctionspublicRole") == [":function:public"]
    assert invokes("FunctionsforawsusersRole") == []  # its requests become jobs at once
    assert invokes("FunctionssettingsRole") == []


def test_only_the_key_holders_have_a_key_and_its_value_is_nowhere(every: Synthesized) -> None:
    assert "Value" not in every.one("AWS::ApiGateway::ApiKey")
    plan = every.one("AWS::ApiGateway::UsagePlan")
    assert plan["Throttle"] == {"BurstLimit": 40, "RateLimit": 20}
    assert len(every.of_type("AWS::ApiGateway::UsagePlanKey")) == 1


def test_each_http_endpoint_has_an_output_with_its_url(every: Synthesized) -> None:
    urls = {
        output["Description"]: output["Value"]
        for key, output in every.template["Outputs"].items()
        if key != "ScarWorkflow"
    }
    names = ("public", "for-aws-users", "for-key-holders")
    assert set(urls) == {f"HTTP endpoint of {name}" for name in names}
    assert all(value["Fn::Join"][1][-1] == "/launch" for value in urls.values())


def test_urls_are_in_the_output_for_scar(every: Synthesized) -> None:
    delimiter, parts = every.template["Outputs"]["ScarWorkflow"]["Value"]["Fn::Join"]
    text = delimiter.join(part if isinstance(part, str) else "TOKEN" for part in parts)
    functions = {function["name"]: function for function in json.loads(text)["functions"]}
    assert functions["public"]["api_url"].startswith("https://TOKEN.execute-api.TOKEN.")
    assert functions["public"]["api_url"].endswith("/launch")
    assert functions["for-key-holders"]["api_key_id"] == "TOKEN"
    assert "api_url" not in functions["settings"]


def test_a_function_names_its_files_with_their_hashes(every: Synthesized) -> None:
    (function,) = (
        one
        for one in every.template["Resources"].values()
        if one.get("Properties", {}).get("FunctionName") == "settings"
        and one["Type"] == "AWS::Lambda::Function"
    )
    files = function["Metadata"]["scar:files"]
    assert set(files) >= {"settings", "script"}
    assert all(set(one) == {"name", "hash"} and "/" not in one["name"] for one in files.values())


def test_preheating_invokes_the_function_once_and_not_in_mode_batch(every: Synthesized) -> None:
    (resource,) = every.of_type("Custom::ScarPreheat").values()
    assert "public" in json.dumps(resource["FunctionName"])
    assert len(resource["Changes"]) == 2


def test_a_function_without_input_has_no_trigger(every: Synthesized) -> None:
    assert config(every, "called-by-hand")["inputs"] == []
    permissions = json.dumps(list(every.of_type("AWS::Lambda::Permission").values()))
    assert "calledbyhand" not in permissions


def test_what_reads_from_our_buckets_can_be_launched_by_aws(every: Synthesized) -> None:
    machines = every.of_type("AWS::StepFunctions::StateMachine").values()
    names = {found["StateMachineName"].removeprefix("scar-launch-") for found in machines}
    functions = {found.get("FunctionName") for found in every.of_type("AWS::Lambda::Function").values()}
    others = {"fed-by-topic", "fed-by-their-queue", "with-a-queue-in-batch"}
    without_inputs = {"public", "for-aws-users", "for-key-holders", "called-by-hand", None}
    assert names == functions - others - without_inputs


def alarms(every: Synthesized) -> dict[str, dict[str, Any]]:
    """The alarms by the end of their logical ids, such as `ErrorsAlarm1`, without the hash."""
    return {
        name[:-8].removeprefix("Functions").removeprefix("Monitoring"): found
        for name, found in every.of_type("AWS::CloudWatch::Alarm").items()
    }


def test_each_failure_queue_has_an_alarm_of_its_own(every: Synthesized) -> None:
    found = alarms(every)
    own = [alarm for name, alarm in found.items() if name.endswith("FailuresAlarm")]
    queues = [name for name in every.of_type("AWS::SQS::Queue") if "FailureQueue" in name]
    watched = [alarm["Dimensions"][0]["Value"]["Fn::GetAtt"][0] for alarm in own]
    assert sorted(watched) == sorted(queues)
    alarm = found["settingsFailuresAlarm"]
    assert alarm["AlarmName"] == "scar-failures-settings"
    assert alarm["AlarmDescription"] == (
        "Events of function settings have failed. Show the reasons: scar status -n settings. Send the events "
        "again: scar retry -n settings."
    )
    assert {"Key": "team", "Value": "blue"} in alarm["Tags"]


def test_functions_share_alarms_of_ten_metrics(every: Synthesized) -> None:
    found = alarms(every)
    shared = {name: alarm for name, alarm in found.items() if "Metrics" in alarm}
    counts = Counter(name.rstrip("123456789") for name in shared)
    assert counts == {"WaitingAlarm": 2, "ThrottlesAlarm": 2, "ErrorsAlarm": 3}
    for alarm in shared.values():
        assert len(alarm["Metrics"]) <= 11, "the expression, and ten metrics"
    names = {
        one["FunctionName"]
        for one in every.of_type("AWS::Lambda::Function").values()
        if "FunctionName" in one
    }
    for kind, most in (("ThrottlesAlarm", names), ("ErrorsAlarm", names)):
        watched = {
            dimension["Value"]
            for name, alarm in shared.items()
            if name.startswith(kind)
            for query in alarm["Metrics"]
            if "MetricStat" in query
            for dimension in query["MetricStat"]["Metric"]["Dimensions"]
        }
        assert watched == most
    (topic,) = every.of_type("AWS::SNS::Topic")
    assert all(alarm["AlarmActions"] == [{"Ref": topic}] for alarm in found.values())


STATES_OF_ALARMS = """
import os, json, sys
os.environ["GATEWAY_PORT"] = "4566"
from ministack.core.responses import request_scope
from ministack.services import cloudwatch
from ministack.services.cloudformation import provisioners
from local_cloud.metrics import alarms, data_points, queries
data_points.install()
queries.install()
alarms.install(lambda: None)
NOW = 1_800_000_000
create = provisioners._RESOURCE_HANDLERS["AWS::CloudWatch::Alarm"]["create"]
with request_scope("000000000000", "us-east-1"):
    result = []
    for properties, numbers in json.loads(sys.argv[1]):
        cloudwatch.reset()
        for namespace, name, dimensions, minutes_ago, value in numbers:
            data_points.record(namespace, name, value, "None", dimensions, NOW - 60 * minutes_ago)
        create("alarm", {**properties, "AlarmName": "alarm", "AlarmActions": []}, "stack")
        alarms.evaluate(cloudwatch._alarms["alarm"], NOW + 30)
        result.append(cloudwatch._alarms["alarm"]["StateValue"])
print(json.dumps(result))
"""


def test_alarms_change_their_state_with_the_numbers(every: Synthesized) -> None:
    """The alarms of the template, evaluated by the embedded cloud."""
    found = alarms(every)
    settings = {"FunctionName": "settings"}
    failed = {"QueueName": found["settingsFailuresAlarm"]["Dimensions"][0]["Value"]["Fn::GetAtt"][0]}
    (queue_name,) = (
        query["MetricStat"]["Metric"]["Dimensions"][0]["Value"]["Fn::GetAtt"][0]
        for query in found["WaitingAlarm1"]["Metrics"]
        if "withaqueueInputQueue" in json.dumps(query)
    )
    queue = {"QueueName": queue_name}

    def runs(invocations: int, errors: int, minutes_ago: int = 0) -> list[tuple[Any, ...]]:
        return [
            ("AWS/Lambda", name, settings, minutes_ago, value)
            for name, value in (("Invocations", invocations), ("Errors", errors))
        ]

    def throttles(*minutes_ago: int) -> list[tuple[Any, ...]]:
        return [("AWS/Lambda", "Throttles", settings, ago, 1) for ago in minutes_ago]

    visible, age = "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"
    cases: list[tuple[str, list[tuple[Any, ...]], str]] = [
        ("settingsFailuresAlarm", [], "OK"),
        ("settingsFailuresAlarm", [("AWS/SQS", visible, failed, 0, 1)], "ALARM"),
        ("settingsFailuresAlarm", [("AWS/SQS", visible, {"QueueName": "another"}, 0, 1)], "OK"),
        ("WaitingAlarm1", [], "OK"),
        ("WaitingAlarm1", [("AWS/SQS", age, queue, 0, 3599)], "OK"),
        ("WaitingAlarm1", [("AWS/SQS", age, queue, 0, 3600)], "ALARM"),
        ("WaitingAlarm1", [("AWS/Lambda", "AsyncEventAge", settings, 0, 3_599_000)], "OK"),
        ("WaitingAlarm1", [("AWS/Lambda", "AsyncEventAge", settings, 0, 3_600_000)], "ALARM"),
        ("ThrottlesAlarm1", throttles(0, 5), "OK"),
        ("ThrottlesAlarm1", throttles(0, 5, 10), "ALARM"),
        ("ErrorsAlarm1", runs(9, 9), "OK"),
        ("ErrorsAlarm1", runs(100, 9), "OK"),
        ("ErrorsAlarm1", runs(100, 10), "ALARM"),
        ("ErrorsAlarm1", runs(100, 10, minutes_ago=15), "OK"),
    ]
    resolved = [
        [
            json.loads(re.sub(r'\{"Fn::GetAtt": \["(\w+)", "\w+"\]\}', r'"\1"', json.dumps(found[name]))),
            numbers,
        ]
        for name, numbers, _ in cases
    ]
    assert result_of(STATES_OF_ALARMS, json.dumps(resolved)) == [state for *_, state in cases]


def test_only_alarms_of_this_account_notify_the_topic(every: Synthesized) -> None:
    policy = every.one("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    assert [statement["Effect"] for statement in policy] == ["Deny", "Allow"]
    assert policy[0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert policy[1]["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert policy[1]["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    source = json.dumps(policy[1]["Condition"]["ArnLike"]["aws:SourceArn"])
    assert [source.count(part) for part in ("AWS::Region", "AWS::AccountId", ":alarm:*")] == [1, 1, 1]
    found = every.one("AWS::SNS::Subscription", Protocol="email")
    assert found["Endpoint"] == "team@example.org"


def test_stuck_jobs_notify_the_topic(every: Synthesized) -> None:
    (rule,) = (
        found
        for found in every.of_type("AWS::Events::Rule").values()
        if found["EventPattern"].get("detail-type") == ["Batch Job Queue Blocked"]
    )
    queues = {queue["Fn::GetAtt"][0] for queue in rule["EventPattern"]["detail"]["jobQueue"]}
    assert queues == set(every.of_type("AWS::Batch::JobQueue"))
    (target,) = rule["Targets"]
    (topic,) = every.of_type("AWS::SNS::Topic")
    assert target["Arn"] == {"Ref": topic}
    (statement,) = every.statements("StuckJobsRole")
    assert (statement["Action"], statement["Resource"]) == ("sns:Publish", {"Ref": topic})


def test_dashboard_shows_every_function_and_alarm(every: Synthesized) -> None:
    dashboard = every.one("AWS::CloudWatch::Dashboard")
    assert dashboard["DashboardName"] == {"Fn::Join": ["", ["workflow-", {"Ref": "AWS::Region"}]]}
    parts = dashboard["DashboardBody"]["Fn::Join"][1]
    body = json.loads("".join(part if isinstance(part, str) else _name_in(part) for part in parts))
    widgets = body["widgets"]
    assert len({(widget["x"], widget["y"]) for widget in widgets}) == len(widgets)
    (states,) = (widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm")
    assert set(states) == set(every.of_type("AWS::CloudWatch::Alarm"))
    graphs = {
        widget["properties"]["title"]: widget["properties"]["metrics"]
        for widget in widgets
        if widget["type"] == "metric"
    }
    names = {
        name["FunctionName"]
        for name in every.of_type("AWS::Lambda::Function").values()
        if "FunctionName" in name
    }
    for title, metrics in graphs.items():
        ids = [metric[-1]["id"] for metric in metrics if "id" in metric[-1]]
        assert len(ids) == len(set(ids)), title
        if title.startswith(("Runs", "Failed", "Events in failure", "Throttled", "Duration", "Cost")):
            assert {metric[-1]["label"] for metric in metrics if "label" in metric[-1]} == names, title
    assert ["scar-cdk", "total_ms", "function", "settings", "status", "failed"] in [
        metric[:-1] for metric in graphs["Failed runs"]
    ]
    queue = "FunctionswithaqueueInputQueue"
    assert any(str(metric[3]).startswith(queue) for metric in graphs["Events in input queues"])


def _name_in(reference: dict[str, Any]) -> str:
    (value,) = reference.values()
    return str(value[0] if isinstance(value, list) else value)


def test_linters_find_nothing(every: Synthesized) -> None:
    assert lint(every.folder / "workflow.template.json") == []


def test_it_deploys_in_moto_with_policies_without_findings(every: Synthesized) -> None:
    assert every.second_opinion() == []


def test_cdk_nag_and_the_cdk_find_nothing(every: Synthesized) -> None:
    assert every.findings() == []
    assert every.said() == []


def test_every_kind_of_batch_jobs_can_be_deployed(synthesize: Synthesize, tmp_path: Path) -> None:
    from cfnlint import lint_file

    file = tmp_path / "jobs.yaml"
    file.write_text(everything.KINDS_OF_JOBS)
    checked = check(file)
    assert checked.workflow is not None, [diagnostic.render() for diagnostic in checked.diagnostics]
    found = synthesize(replace(checked.workflow, allow_loops=True))
    named = [one for one in found.of_type("AWS::Lambda::Function").values() if "FunctionName" in one]
    assert {one["RecursiveLoop"] for one in named} == {"Allow"}
    assert list(unconditional_trusts(found.template)) == []
    kinds = [
        one["ComputeResources"]["Type"] for one in found.of_type("AWS::Batch::ComputeEnvironment").values()
    ]
    assert sorted(kinds) == ["EC2", "EC2", "FARGATE", "SPOT"]
    jobs = found.of_type("AWS::Batch::JobDefinition").values()
    assert [one["NodeProperties"]["NumNodes"] for one in jobs if one["Type"] == "multinode"] == [3]
    assert found.findings() == []
    assert found.said() == []
    assert [str(match) for match in lint_file(found.folder / "workflow.template.json")] == []
    assert found.second_opinion() == []
