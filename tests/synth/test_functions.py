"""Lambda functions: each key of the FDL has its effect."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote_plus

import pytest

from fdl_schemas.model import Container, Function, StorageEntry, Workflow
from scar_constructs.deployment import DeploymentError, with_real_names
from tests.linting import lint
from tests.synth.synthesized import Synthesize, Synthesized


def test_settings_arrive(rich: Synthesized) -> None:
    function = rich.one("AWS::Lambda::Function", FunctionName="filtered")
    assert function["MemorySize"] == 1024
    assert function["Timeout"] == 60
    assert function["EphemeralStorage"] == {"Size": 2048}
    assert function["Architectures"] == ["x86_64"]
    assert function["Environment"]["Variables"] == {"KEY": "value"}


def test_a_function_runs_its_assembled_image(rich: Synthesized) -> None:
    function = rich.one("AWS::Lambda::Function", FunctionName="filtered")
    assert function["PackageType"] == "Image"
    resource, attribute = function["Code"]["ImageUri"]["Fn::GetAtt"]
    assert rich.template["Resources"][resource]["Type"] == "Custom::ScarAssembledImage"
    assert attribute == "ImageUri"
    assert not {"Runtime", "Handler", "Layers", "ImageConfig"} & function.keys()


def test_the_assembler_is_told_all_about_an_image(rich: Synthesized) -> None:
    image = rich.image("filtered")
    assert image["Image"] == "alpine"
    assert image["Architecture"] == "x86_64"
    assert image["RegistryMirrors"] == "docker.io=file:///images"
    assert image["ServiceTimeout"] == "3600"
    (repository,) = rich.of_type("AWS::ECR::Repository")
    assert image["RepositoryName"] == {"Ref": repository}
    assert all((rich.folder / f"asset.{one}").exists() for one in image["Runner"].split("-"))
    assert not {"Archive", "RegistryCredentials"} & image.keys()


def test_the_repository_is_private_scanned_and_goes_with_the_stack(rich: Synthesized) -> None:
    repository = rich.one("AWS::ECR::Repository")
    assert repository["EmptyOnDelete"] is True
    assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
    assert repository["ImageTagMutability"] == "IMMUTABLE"
    assert "LifecyclePolicy" not in repository, "jobs that wait need the images of earlier deployments"
    (statement,) = repository["RepositoryPolicyText"]["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_a_repository_is_kept_where_a_function_says_so(synthesize: Synthesize, tmp_path: Path) -> None:
    function = Function(name="f", container=Container(image="alpine"), delete_ecr_image=False)
    found = synthesize(Workflow(source=tmp_path / "w.yaml", functions=(function,)))
    (repository,) = (
        one for one in found.template["Resources"].values() if one["Type"] == "AWS::ECR::Repository"
    )
    assert repository["DeletionPolicy"] == "RetainExceptOnCreate"


def test_each_architecture_has_an_assembler_of_its_own(synthesize: Synthesize, tmp_path: Path) -> None:
    functions = tuple(
        Function(name=name, container=Container(image="alpine"), architecture=architecture)
        for name, architecture in (("a", "x86_64"), ("b", "arm64"), ("c", "arm64"))
    )
    found = synthesize(Workflow(source=tmp_path / "w.yaml", functions=functions))
    assemblers = {
        name: function["Architectures"]
        for name, function in found.of_type("AWS::Lambda::Function").items()
        if function.get("Timeout") == 900 and "Layers" in function
    }
    assert sorted(assemblers.values()) == [["arm64"], ["x86_64"]]
    for name, expected in (("a", "x86_64"), ("b", "arm64"), ("c", "arm64")):
        assert assemblers[found.image(name)["ServiceToken"]["Fn::GetAtt"][0]] == [expected]


def test_a_ready_image_is_taken_as_it_is(synthesize: Synthesize, tmp_path: Path) -> None:
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/tool:1"
    function = Function(name="f", container=Container(image=image, create_image=False))
    found = synthesize(Workflow(source=tmp_path / "w.yaml", functions=(function,)))
    assert found.one("AWS::Lambda::Function", FunctionName="f")["Code"] == {"ImageUri": image}
    assert not found.of_type("Custom::ScarAssembledImage")
    assert not found.of_type("AWS::ECR::Repository")


def test_refreshing_is_a_change_of_every_image(synthesize: Synthesize, tmp_path: Path) -> None:
    """By a parameter: CloudFormation keeps its value in later deployments, and restores it in a rollback."""
    function = Function(name="f", container=Container(image="alpine"))
    found = synthesize(Workflow(source=tmp_path / "w.yaml", functions=(function,)))
    assert found.image("f")["Refresh"] == {"Ref": "RefreshImages"}
    parameter = found.template["Parameters"]["RefreshImages"]
    assert (parameter["Type"], parameter["Default"]) == ("String", "")


def test_a_function_that_pulls_its_image_is_a_zip_function_on_the_runners_layer(rich: Synthesized) -> None:
    function = rich.one("AWS::Lambda::Function", FunctionName="pulling")
    assert function["Runtime"] == "python3.13"
    assert function["Handler"] == "runtime.handler.handle"
    (layer,) = rich.of_type("AWS::Lambda::LayerVersion")
    assert {"Ref": layer} in function["Layers"]
    assert "arn:aws:lambda:us-east-1:123456789012:layer:tools:3" in function["Layers"]
    assert function["Environment"]["Variables"] == {"SCAR_REGISTRY_MIRRORS": "docker.io=file:///images"}


def test_container_environment_and_log_level_are_packaged_not_set_on_the_function(rich: Synthesized) -> None:
    config = json.loads((rich.package("filtered") / "function_config.json").read_text())
    assert config["container_environment"] == {"MODE": "fast", "Ü": "ä"}
    assert config["log_level"] == "DEBUG"
    assert config["inputs"][1]["prefixes"] == ["x"]
    assert config["inputs"][1]["suffixes"] == [".txt", "s.txt"]


def test_log_group_has_the_functions_name_and_retention(rich: Synthesized) -> None:
    assert rich.one("AWS::Logs::LogGroup", LogGroupName="/aws/lambda/filtered")["RetentionInDays"] == 7


def test_events_that_failed_go_to_a_queue_of_the_functions_own(rich: Synthesized) -> None:
    settings = [
        setting
        for setting in rich.of_type("AWS::Lambda::EventInvokeConfig").values()
        if "DestinationConfig" in setting
    ]
    queues = {json.dumps(setting["DestinationConfig"]["OnFailure"]["Destination"]) for setting in settings}
    assert len(queues) == len(settings) == 7
    assert sorted(setting["MaximumRetryAttempts"] for setting in settings) == [0, 2, 2, 2, 2, 2, 2]


def test_failure_queue_is_encrypted_and_keeps_events_for_14_days(rich: Synthesized) -> None:
    queues = rich.of_type("AWS::SQS::Queue").values()
    assert all(
        queue["SqsManagedSseEnabled"] and queue["MessageRetentionPeriod"] == 1209600 for queue in queues
    )


def test_functions_with_once_and_their_jobs_have_the_table_of_claims(rich: Synthesized) -> None:
    ((name, table),) = rich.of_type("AWS::DynamoDB::Table").items()
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    assert rich.template["Resources"][name]["DeletionPolicy"] == "Delete"
    functions = rich.of_type("AWS::Lambda::Function").values()
    has_it = {
        one["FunctionName"]
        for one in functions
        if one.get("Environment", {}).get("Variables", {}).get("SCAR_CLAIMS_TABLE") == {"Ref": name}
    }
    assert has_it == {"from_file"}
    given = {"Name": "SCAR_CLAIMS_TABLE", "Value": {"Ref": name}}
    jobs = rich.of_type("AWS::Batch::JobDefinition").values()
    assert [given in job["ContainerProperties"]["Environment"] for job in jobs].count(True) == 1


def test_an_image_file_is_uploaded_and_named_to_who_needs_it(rich: Synthesized) -> None:
    pulling = rich.one("AWS::Lambda::Function", FunctionName="pulling_file")["Environment"]["Variables"]
    for uri in (pulling["SCAR_IMAGE_FILE"]["Fn::Sub"], rich.image("from_file")["Archive"]["Fn::Sub"]):
        archive = rich.folder / f"asset.{uri.rpartition('/')[2]}"
        assert uri.startswith("s3://cdk-")
        assert archive.read_bytes() == b"an archive"
    assert "Image" not in rich.image("from_file")
    config = json.loads((rich.package("from_file") / "function_config.json").read_text())
    assert config["image"] is None


@pytest.mark.parametrize("suffix", [None, "x1"])
def test_an_image_file_may_be_staged_in_a_bucket_of_the_workflow(
    suffix: str | None, synthesize: Synthesize, tmp_path: Path
) -> None:
    (tmp_path / "image.tar").write_bytes(b"an archive")
    function = Function(
        name="f",
        container=Container(image_file=tmp_path / "image.tar"),
        inputs=(StorageEntry("words", "in"),),
        deployment_bucket="words",
    )
    workflow = Workflow(source=tmp_path / "w.yaml", functions=(function,))
    found = synthesize(with_real_names(workflow, bucket_suffix=suffix))
    (bucket,) = (
        name
        for name, made in found.of_type("AWS::S3::Bucket").items()
        if "words" in str(made.get("BucketName"))
    )
    (copy,) = (
        resource
        for resource in found.template["Resources"].values()
        if resource["Type"] == "Custom::ScarStagedFile"
    )
    assert copy["Properties"]["Bucket"] == ("words" if suffix is None else "words-x1")
    assert bucket in copy["DependsOn"]


def test_a_given_role_is_used_as_it_is(rich: Synthesized) -> None:
    function = rich.one("AWS::Lambda::Function", FunctionName="given_role")
    assert function["Role"] == "arn:aws:iam::123456789012:role/theirs"
    assert function["Description"] == "uses a role of its owner"
    assert function["ReservedConcurrentExecutions"] == 4
    assert {"Key": "team", "Value": "blue"} in function["Tags"]
    assert not [
        policy for policy in rich.of_type("AWS::IAM::Policy").values() if "theirs" in json.dumps(policy)
    ]


def test_a_script_is_packaged_as_it_is_and_can_be_run(rich: Synthesized) -> None:
    script = rich.package("filtered") / "init_script"
    assert script.read_text() == "#!/bin/sh\ncat $INPUT_FILE_PATH\n"
    assert script.stat().st_mode & 0o777 == 0o755
    config = json.loads((rich.package("filtered") / "function_config.json").read_text())
    assert config["init_script"] == "init_script"


def test_a_function_without_script_has_none_in_its_package(rich: Synthesized) -> None:
    assert [path.name for path in rich.package("whole_bucket").iterdir()] == ["function_config.json"]


def test_description_is_cut_where_the_image_has_a_long_name(synthesize: Synthesize, tmp_path: Path) -> None:
    image = "r" * 255 + ":" + "t" * 128
    function = Function(name="f", container=Container(image=image))
    found = synthesize(Workflow(source=tmp_path / "w.yaml", functions=(function,)))
    description = found.one("AWS::Lambda::Function", FunctionName="f")["Description"]
    assert len(description) == 256
    assert description.startswith("Runs rrr")
    assert description.endswith("…")


def test_output_of_the_cdk_is_no_part_of_the_package(synthesize: Synthesize, tmp_path: Path) -> None:
    for folder in ("cdk.out", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cdk.out").write_text('{"version": "48.0.0"}')
    (tmp_path / "labels.txt").touch()
    function = Function(name="f", container=Container(image="alpine"), extra_payload=tmp_path)
    found = synthesize(Workflow(source=tmp_path / "w.yaml", functions=(function,)))
    assert [path.name for path in (found.package("f") / "extra_payload").iterdir()] == ["labels.txt"]


def test_files_that_are_gone_since_they_were_checked_are_one_clear_line(
    synthesize: Synthesize, tmp_path: Path
) -> None:
    function = Function(name="f", container=Container(image="alpine"), init_script=tmp_path / "gone.sh")
    with pytest.raises(DeploymentError, match=r"function f: its files cannot be packaged: .*gone\.sh"):
        synthesize(Workflow(source=tmp_path / "w.yaml", functions=(function,)))


def test_text_that_looks_like_cloudformations_stays_as_it_is(synthesize: Synthesize) -> None:
    text = "x${AWS::AccountId}-{{ resolve:ssm:x }}-${aws:username}"
    function = Function(
        name="f",
        description=text,
        container=Container(image="alpine", environment={"MODE": text}),
        environment={"KEY": text},
        inputs=(StorageEntry("bucket", f"in{text}", prefixes=(text,), suffixes=(text,)),),
        outputs=(StorageEntry("bucket", f"out{text}"),),
    )
    made = synthesize(Workflow(Path("w.yaml"), (function,)), distributed_launch=True)
    lambda_function = made.one("AWS::Lambda::Function", FunctionName="f")
    assert lambda_function["Description"] == text
    assert lambda_function["Environment"]["Variables"]["KEY"] == text
    notification = made.one("Custom::S3BucketNotifications")["NotificationConfiguration"]
    (rules,) = [one["Filter"]["Key"]["FilterRules"] for one in notification["LambdaFunctionConfigurations"]]
    assert f"in{text}/" in {unquote_plus(rule["Value"]) for rule in rules}
    assert json.loads((made.package("f") / "function_config.json").read_text())["container_environment"] == {
        "MODE": text
    }
    (listing,) = [one for one in made.statements("LaunchRole") if one["Action"] == "s3:ListBucket"]
    prefix = "inx${$}{AWS::AccountId}-{{ resolve:ssm:x }}-${$}{aws:username}/"
    assert listing["Condition"] == {"StringEquals": {"s3:prefix": [prefix]}}
    assert made.said() == []
    assert lint(made.folder / "workflow.template.json") == []
