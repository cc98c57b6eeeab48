"""Roles: each may do what its holder is for, on things that are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdl_schemas.model import Container, Function, StorageEntry
from scar_constructs.functions.data_access import (
    grant_assets,
    grant_data_access,
    grant_image,
    grant_secrets,
    in_policy,
)
from scar_constructs.storage.notifications import NotificationsHandler
from tests.synth.synthesized import Synthesized

Right = tuple[str, tuple[str, ...], tuple[str, ...]]
"""Effect, actions, resources."""


def normalized(statement: dict[str, Any]) -> Right:
    """A statement with logical ids in angle brackets, without the hashes at their ends."""
    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
    return (
        statement["Effect"],
        tuple(sorted(actions)),
        tuple(sorted(flat(resource) for resource in resources)),
    )


def flat(value: Any) -> str:
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        return str(value["Fn::Join"][0]).join(flat(part) for part in value["Fn::Join"][1])
    if "Fn::GetAtt" in value:
        return "<" + str(value["Fn::GetAtt"][0]).rstrip("0123456789ABCDEF") + ">"
    if "Ref" in value:
        return "<" + str(value["Ref"]).rstrip("0123456789ABCDEF") + ">"
    return str(value["Fn::Sub"])


def rights(synthesized: Synthesized, role: str) -> set[Right]:
    return {normalized(statement) for statement in synthesized.statements(role)}


QUEUE_RIGHTS = ("sqs:SendMessage",)
LOG_RIGHTS = ("logs:CreateLogStream", "logs:PutLogEvents")
READ_RIGHTS = ("s3:GetObject", "s3:GetObjectVersion")
BUCKET = "<BucketsscarvideoBucket>"


def test_a_lambda_function_reads_its_input_and_writes_its_output_and_no_more(seed: Synthesized) -> None:
    assert rights(seed, "FunctionsscarlambdadarknetRole") == {
        ("Allow", LOG_RIGHTS, ("<FunctionsscarlambdadarknetLogs>",)),
        ("Allow", READ_RIGHTS, (f"{BUCKET}/split-images/*",)),
        ("Allow", ("s3:AbortMultipartUpload", "s3:PutObject"), (f"{BUCKET}/output/*",)),
        ("Allow", QUEUE_RIGHTS, ("<FunctionsscarlambdadarknetFailureQueue>",)),
    }


def test_a_batch_function_may_submit_its_job_but_not_touch_data(seed: Synthesized) -> None:
    assert rights(seed, "FunctionsscarbatchffmpegsplitRole") == {
        ("Allow", LOG_RIGHTS, ("<FunctionsscarbatchffmpegsplitLogs>",)),
        (
            "Allow",
            ("batch:SubmitJob",),
            (
                "<FunctionsscarbatchffmpegsplitBatchJobDefinition>",
                "<ScarBatchFARGATE74c1bb07JobQueue>",
            ),
        ),
        ("Allow", QUEUE_RIGHTS, ("<FunctionsscarbatchffmpegsplitFailureQueue>",)),
        ("Allow", ("s3:PutObject",), ("<EventsBucket>/*",)),
    }


def test_a_job_has_the_data_and_long_events(seed: Synthesized) -> None:
    assert rights(seed, "FunctionsscarbatchffmpegsplitBatchJobRole") == {
        ("Allow", READ_RIGHTS, (f"{BUCKET}/input/*",)),
        ("Allow", ("s3:AbortMultipartUpload", "s3:PutObject"), (f"{BUCKET}/split-images/*",)),
        ("Allow", ("s3:GetObject",), ("<EventsBucket>/*",)),
    }


PULL_RIGHTS = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
REPOSITORY = "<ImagesRepository>"


def test_whoever_starts_a_job_may_pull_its_image_and_write_its_log(seed: Synthesized) -> None:
    assert rights(seed, "BatchExecutionRole") == {
        ("Allow", LOG_RIGHTS, ("<FunctionsscarbatchffmpegsplitBatchLogs>",)),
        ("Allow", PULL_RIGHTS, (REPOSITORY,)),
        ("Allow", ("ecr:GetAuthorizationToken",), ("*",)),
    }


def test_the_assembler_reads_the_packages_and_pushes_to_the_repository(seed: Synthesized) -> None:
    found = rights(seed, "ImagesAssemblerRole")
    packages = [name for _, actions, names in found for name in names if actions == ("s3:GetObject",)]
    assert len(packages) == 2
    assert all(name.endswith(".zip") and "*" not in name for name in packages)
    others = {entry for entry in found if entry[1] != ("s3:GetObject",)}
    pushes = (
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:CompleteLayerUpload",
        "ecr:GetDownloadUrlForLayer",
        "ecr:InitiateLayerUpload",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
    )
    (looks,) = (entry for entry in others if entry[1] == ("lambda:GetFunctionConfiguration",))
    assert [name.rpartition(":")[2] for name in looks[2]] == [
        "scar-batch-ffmpeg-split",
        "scar-lambda-darknet",
    ]
    assert others - {looks} == {
        ("Allow", LOG_RIGHTS, ("<ImagesAssemblerLogs>",)),
        ("Allow", pushes, (REPOSITORY,)),
        ("Allow", ("ecr:GetAuthorizationToken",), ("*",)),
        ("Allow", ("lambda:InvokeFunction",), ("<ImagesAssemblerFunction>",)),
    }


def test_the_helpers_may_do_their_one_thing(seed: Synthesized) -> None:
    assert rights(seed, "BucketFoldersProviderRole") == {
        ("Allow", LOG_RIGHTS, ("<BucketFoldersProviderLogs>",)),
        (
            "Allow",
            ("s3:DeleteObject", "s3:PutObject"),
            (f"{BUCKET}/input/", f"{BUCKET}/output/", f"{BUCKET}/split-images/"),
        ),
        ("Allow", ("s3:ListBucket",), (BUCKET,)),
    }
    assert rights(seed, "BucketNotificationsRole") == {
        ("Allow", LOG_RIGHTS, ("<BucketNotificationsLogs>",)),
        ("Allow", ("s3:PutBucketNotification",), (BUCKET,)),
    }


def test_an_image_file_may_be_read_by_who_runs_it(rich: Synthesized) -> None:
    def reads_tar(role: str) -> bool:
        return any(".tar" in name for _, _, resources in rights(rich, role) for name in resources)

    assert reads_tar("ImagesAssemblerRole")
    assert reads_tar("FunctionspullingfileRole")
    assert not reads_tar("FunctionsfromfileRole")
    assert not reads_tar("FunctionsfromfileBatchJobRole")
    assert not reads_tar("FunctionsfileinbatchRole")
    assert not reads_tar("FunctionsfilteredRole")


def test_claims_are_taken_by_functions_with_once_and_their_jobs_alone(rich: Synthesized) -> None:
    claiming = ("Allow", ("dynamodb:GetItem", "dynamodb:UpdateItem"), ("<ClaimsTable>",))
    reading_outputs = ("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject")
    for role in ("FunctionsfromfileRole", "FunctionsfromfileBatchJobRole"):
        found = rights(rich, role)
        assert claiming in found
        assert ("Allow", reading_outputs, ("<Bucketsdatax1Bucket>/in-b/*",)) in found
    others = [name for name in rich.of_type("AWS::IAM::Role") if claiming in rights(rich, name)]
    assert len(others) == 2


def test_deleting_is_allowed_only_to_empty_a_bucket_that_is_to_be_destroyed(rich: Synthesized) -> None:
    deleting = [
        (name, normalized(statement))
        for name in rich.of_type("AWS::IAM::Role")
        for statement in rich.statements(name)
        if any("Delete" in action for action in normalized(statement)[1])
    ]
    assert {name.rstrip("0123456789ABCDEF") for name, _ in deleting} == {"BucketFoldersProviderRole"}
    emptied = {resource for _, (_, _, resources) in deleting for resource in resources}
    assert emptied == {"<Bucketsdatax1Bucket>/*", "<Bucketswholex1Bucket>/*", "<EventsBucket>/*"}


def test_no_statement_allows_all_actions_or_all_resources(seed: Synthesized, rich: Synthesized) -> None:
    for synthesized in (seed, rich):
        for name in synthesized.of_type("AWS::IAM::Role"):
            for statement in synthesized.statements(name):
                _, actions, resources = normalized(statement)
                assert not any("*" in action for action in actions), name
                # A wildcard stands at the end alone, and behind the name of a bucket.
                if actions == ("ecr:GetAuthorizationToken",):
                    continue  # it has no resources: it is a login
                assert all("*" not in text.removesuffix("/*") for text in resources), name
                assert "*" not in resources, name


@pytest.mark.parametrize(
    ("key", "resource"),
    [
        ("in/pictures/", "in/pictures/"),
        ("été 1/", "été 1/"),
        ("a*b?c$d/", "a?b?c?d/"),
        ("日本語/in/", "*/in/"),
    ],
)
def test_keys_stand_in_policies_as_a_policy_takes_them(key: str, resource: str) -> None:
    assert in_policy(key) == resource


def test_no_managed_policies(seed: Synthesized, rich: Synthesized) -> None:
    for synthesized in (seed, rich):
        for role in synthesized.of_type("AWS::IAM::Role").values():
            assert "ManagedPolicyArns" not in role, json.dumps(role)


def granted(grant: Callable[[Any], None]) -> set[Right]:
    """What a role has got, in a stack that has nothing else."""
    from aws_cdk import App, Stack
    from aws_cdk import aws_iam as iam
    from aws_cdk.assertions import Template

    stack = Stack(App(analytics_reporting=False, builtin_cloud_formation_validation=False), "stack")
    grant(iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")))
    policies = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    return {
        normalized(statement)
        for policy in policies
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    }


def test_folders_of_other_providers_need_no_rights() -> None:
    elsewhere = (StorageEntry("data", "out", provider="minio.lab"), StorageEntry("data", provider="s3.other"))
    function = Function(name="f", container=Container(image="a"), outputs=elsewhere)
    assert granted(lambda role: grant_data_access(role, function, {})) == set()


def test_a_secret_may_be_read_by_its_whole_name_alone() -> None:
    """Secrets Manager puts six characters of its own behind a name."""
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:login"
    found = granted(lambda role: grant_secrets(role, ["login", arn]))
    own = "arn:<AWS::Partition>:secretsmanager:<AWS::Region>:<AWS::AccountId>:secret:login-??????"
    assert found == {
        ("Allow", ("secretsmanager:GetSecretValue",), tuple(sorted((own, arn, f"{arn}-??????"))))
    }


def test_an_image_in_ecr_may_be_pulled_from_its_repository_alone() -> None:
    container = Container(image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/tool:1")
    assert granted(lambda role: grant_image(role, container)) == {
        (
            "Allow",
            ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
            ("arn:aws:ecr:eu-west-1:123456789012:repository/team/tool",),
        ),
        ("Allow", ("ecr:GetAuthorizationToken",), ("*",)),
    }


def test_assets_may_be_read_and_no_others(tmp_path: Path) -> None:
    from aws_cdk import aws_s3_assets as s3_assets

    (tmp_path / "file").write_text("x")

    def grant(role: Any) -> None:
        grant_assets(role, [s3_assets.Asset(role.stack, "Asset", path=str(tmp_path / "file"))])

    ((_, actions, (resource,)),) = granted(grant)
    assert actions == ("s3:GetObject",)
    assert "*" not in resource


def test_notifications_that_an_existing_bucket_has_are_read() -> None:
    from aws_cdk import aws_s3 as s3

    def grant(role: Any) -> None:
        handler = NotificationsHandler(role.stack)
        for name, existing in (("old", True), ("new", False)):
            handler.allow(s3.Bucket.from_bucket_name(role, name, name), existing=existing)
        document = role.stack.resolve(handler._policy)
        found.update(normalized(statement) for statement in document["Statement"])

    found: set[Right] = set()
    granted(grant)
    assert {(actions, flat_bucket(names)) for _, actions, names in found if "s3:" in actions[0]} == {
        (("s3:GetBucketNotification", "s3:PutBucketNotification"), "old"),
        (("s3:PutBucketNotification",), "new"),
    }


def flat_bucket(resources: tuple[str, ...]) -> str:
    (resource,) = resources
    return resource.rpartition(":")[2]


def test_the_handler_of_notifications_writes_to_a_log_that_goes(seed: Synthesized) -> None:
    (handler,) = (
        found
        for name, found in seed.of_type("AWS::Lambda::Function").items()
        if name.startswith("BucketNotificationsHandler")
    )
    group = handler["LoggingConfig"]["LogGroup"]["Ref"]
    assert seed.of_type("AWS::Logs::LogGroup")[group]["RetentionInDays"] == 30
