"""`ScarWorkflow` in stacks of other CDK apps, which have feature flags and resources of their own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from aws_cdk import App, Environment, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_notifications as s3_notifications
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs

from scar_constructs import DeploymentError, FdlError, ScarWorkflow
from scar_constructs.deployment import Deployment
from tests.linting import lint
from tests.synth import everything
from tests.synth.conftest import SEED
from tests.synth.synthesized import Synthesized

FDL = """
functions:
  aws:
  - lambda:
      name: words
      container: {image: busybox}
      input: [{storage_provider: s3, path: texts/in}]
      output: [{storage_provider: s3, path: texts/out}, {storage_provider: s3, path: archive}]
  - lambda: {name: alone, container: {image: busybox}}
"""
KEPT = {
    "BucketsscarvideoBucket010555F7": "AWS::S3::Bucket",
    "FunctionsscarbatchffmpegsplitFunction7739F8E2": "AWS::Lambda::Function",
    "FunctionsscarbatchffmpegsplitFailureQueueEA05E85B": "AWS::SQS::Queue",
    "FunctionsscarlambdadarknetFunctionCA2DAE22": "AWS::Lambda::Function",
    "FunctionsscarlambdadarknetLogsCDF7DE68": "AWS::Logs::LogGroup",
    "ImagesRepository5900E9C7": "AWS::ECR::Repository",
    "EventsBucket147CB497": "AWS::S3::Bucket",
}
"""Logical ids of the workflow of `video-process`, which has been deployed with them."""


@pytest.fixture
def fdl(tmp_path: Path) -> Path:
    file = tmp_path / "w.yaml"
    file.write_text(FDL)
    return file


@pytest.fixture
def stack() -> Stack:
    return Stack(App(analytics_reporting=False, builtin_cloud_formation_validation=False), "Media")


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Synthesized]]:
    """Two workflows beside other resources in one stack, and one of them again in a second stack."""
    folder = tmp_path_factory.mktemp("media")
    (folder / "fdl").mkdir()
    app = App(
        outdir=str(folder / "cdk.out"), analytics_reporting=False, builtin_cloud_formation_validation=False
    )
    first, second = Stack(app, "Media"), Stack(app, "Second")
    every = everything.write(folder / "fdl", queues=False)  # a stack has at most 500 resources
    with mock.patch.dict("os.environ", everything.ENVIRONMENT):
        ScarWorkflow(first, "Every", fdl=every, distributed_launch=True, udocker_tools="none")
        ScarWorkflow(first, "Every-2", fdl=every, stage="two", metrics=False, udocker_tools="none")
    bucket = s3.Bucket(first, "Own")
    bucket.add_object_created_notification(s3_notifications.SqsDestination(sqs.Queue(first, "OwnQueue")))
    ScarWorkflow(
        second,
        "Every",
        fdl=SEED,
        stage="prod",
        bucket_suffix="x",
        dashboard=True,
        alarm_topic=sns.Topic(second, "Operations"),
    )
    app.synth()
    out = folder / "cdk.out"
    yield {
        name: Synthesized(out, json.loads((out / f"{name}.template.json").read_text()), app)
        for name in ("Media", "Second")
    }


def test_linters_find_nothing(media: dict[str, Synthesized]) -> None:
    """W3005 is about what the CDK itself writes for every role: here, and in any other app.

    What `Media` holds twice is linted once by `test_everything`.
    """
    file = media["Second"].folder / "Second.template.json"
    assert lint(file, "W3005") == []


def test_names_of_both_workflows_are_apart(media: dict[str, Synthesized]) -> None:
    found = media["Media"].of_type("AWS::Lambda::Function").values()
    names = [function["FunctionName"] for function in found if "FunctionName" in function]
    assert len(names) == len(set(names))
    staged = {name.removesuffix("-two") for name in names if name.endswith("-two")}
    assert staged == {name for name in names if not name.endswith("-two")}
    queues = media["Media"].of_type("AWS::Logs::LogGroup").values()
    groups = [group["LogGroupName"] for group in queues if "LogGroupName" in group]
    assert len(groups) == len(set(groups))


def test_metrics_can_be_left_out(media: dict[str, Synthesized]) -> None:
    functions = [
        one for one in media["Media"].of_type("AWS::Lambda::Function").values() if "FunctionName" in one
    ]
    without = {
        one["FunctionName"]
        for one in functions
        if one.get("Environment", {}).get("Variables", {}).get("SCAR_METRICS") == "false"
    }
    assert without == {one["FunctionName"] for one in functions if one["FunctionName"].endswith("-two")}
    jobs = media["Media"].of_type("AWS::Batch::JobDefinition").values()
    assert str(jobs).count("'Name': 'SCAR_METRICS', 'Value': 'false'") * 2 == len(jobs)


@pytest.mark.parametrize(("value", "meant"), [("true", True), ("false", False), (False, False), (None, True)])
def test_metrics_in_the_context(value: object, meant: bool) -> None:
    assert Deployment.from_context({"fdl": "a.yaml", "metrics": value}).metrics is meant


def test_each_workflow_has_an_output_of_its_own(media: dict[str, Synthesized]) -> None:
    def told(name: str) -> list[dict[str, Any]]:
        outputs = media[name].template["Outputs"]
        values = [output["Value"] for key, output in outputs.items() if key.startswith("ScarWorkflow")]
        texts = ["".join(part for part in value["Fn::Join"][1] if isinstance(part, str)) for value in values]
        return [json.loads(text) for text in texts]

    assert [(one["workflow"], one.get("stage")) for one in told("Media")] == [
        ("everything", None),
        ("everything", "two"),
    ]
    (prod,) = told("Second")
    assert (prod["workflow"], prod["stage"]) == (SEED.stem, "prod")
    assert prod["buckets"] == ["scar-video-x-prod"]


def test_alarms_notify_a_topic_of_the_app(media: dict[str, Synthesized]) -> None:
    second = media["Second"]
    (topic,) = second.of_type("AWS::SNS::Topic")
    found = second.of_type("AWS::CloudWatch::Alarm").values()
    assert {json.dumps(alarm["AlarmActions"]) for alarm in found} == {json.dumps([{"Ref": topic}])}
    names = {alarm["AlarmName"] for alarm in found if "AlarmName" in alarm}
    assert names == {"scar-failures-scar-batch-ffmpeg-split-prod", "scar-failures-scar-lambda-darknet-prod"}
    (dashboard,) = second.of_type("AWS::CloudWatch::Dashboard").values()
    assert dashboard["DashboardName"] == {"Fn::Join": ["", ["Second-Every-", {"Ref": "AWS::Region"}]]}
    assert not media["Media"].of_type("AWS::CloudWatch::Alarm")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alarm_email": "team"}, "Media/Words: alarm_email=team: expected one e-mail address, such as"),
        (
            {"alarm_email": "a@x.org", "own_topic": None},
            "Media/Words: alarm_email and alarm_topic are both set",
        ),
        (
            {"own_topic": "arn:aws:sns:eu-west-1:123456789012:alarms"},
            "Media/Words: alarm_topic=arn:aws:sns:eu-west-1:123456789012:alarms: the topic is in region "
            "eu-west-1, and the functions in us-east-1: use a topic in the region of the functions, because "
            "alarms cannot notify others",
        ),
    ],
)
def test_unusable_receivers_of_alarms_are_errors(
    fdl: Path, arguments: dict[str, str | None], message: str
) -> None:
    app = App(analytics_reporting=False, builtin_cloud_formation_validation=False)
    stack = Stack(app, "Media", env=Environment(region="us-east-1"))
    topic: sns.ITopic | None = None
    if "own_topic" in arguments:
        arn = arguments["own_topic"]
        topic = sns.Topic(stack, "Own") if arn is None else sns.Topic.from_topic_arn(stack, "Own", arn)
    with pytest.raises(DeploymentError, match=f"^{re.escape(message)}"):
        ScarWorkflow(stack, "Words", fdl=fdl, alarm_email=arguments.get("alarm_email"), alarm_topic=topic)


def test_each_workflow_has_secrets_of_its_own(media: dict[str, Synthesized]) -> None:
    stored = media["Media"].of_type("Custom::ScarStorageSecret").values()
    keys = {secret["Key"] for secret in stored}
    assert len(keys) == 2
    for key in keys:
        (file,) = media["Media"].folder.glob(f"*{Path(key).name}")
        assert file.stat().st_mode & 0o077 == 0, "read by its owner alone"


def test_notifications_of_other_buckets_are_not_restricted(media: dict[str, Synthesized]) -> None:
    """The CDK has one function for all notifications of a stack: its role has to fit all buckets."""
    allowed = [
        resource
        for statement in media["Media"].statements("BucketNotificationsHandler")
        if "s3:PutBucketNotification" in json.dumps(statement["Action"])
        for resource in (
            statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        )
    ]
    own = next(
        name for name, bucket in media["Media"].of_type("AWS::S3::Bucket").items() if name.startswith("Own")
    )
    assert "*" in allowed or {"Fn::GetAtt": [own, "Arn"]} in allowed


def test_properties_have_the_names_of_the_fdl_file(stack: Stack, fdl: Path) -> None:
    workflow = ScarWorkflow(
        stack, "Words", fdl=fdl, stage="dev", bucket_suffix="x", existing_buckets=["archive"]
    )
    assert list(workflow.functions) == list(workflow.failure_queues) == ["words", "alone"]
    buckets = {name: stack.resolve(bucket.bucket_name) for name, bucket in workflow.buckets.items()}
    assert buckets["archive"] == "archive"
    template = template_of(stack)
    (made,) = of_type(template, "AWS::S3::Bucket").items()
    assert buckets["texts"] == {"Ref": made[0]}
    assert made[1]["BucketName"] == "texts-x-dev"
    function = stack.resolve(workflow.functions["words"].function_name)["Ref"]
    assert template["Resources"][function]["Properties"]["FunctionName"] == "words-dev"
    queue = stack.resolve(workflow.failure_queues["words"].queue_url)["Ref"]
    assert template["Resources"][queue]["Type"] == "AWS::SQS::Queue"
    with pytest.raises(TypeError):
        workflow.functions["more"] = workflow.functions["words"]  # type: ignore[index]


def test_grants_give_what_they_say_and_no_more(stack: Stack, fdl: Path) -> None:
    workflow = ScarWorkflow(stack, "Words", fdl=fdl)
    roles = {
        name: iam.Role(stack, name, assumed_by=iam.AccountRootPrincipal())
        for name in ("Putter", "Reader", "Invoker")
    }
    workflow.grant_put_inputs(roles["Putter"])
    workflow.grant_read_outputs(roles["Reader"], "words")
    workflow.grant_invoke(roles["Invoker"], "alone")
    template = template_of(stack)
    texts = stack.resolve(workflow.buckets["texts"].bucket_arn)
    archive = stack.resolve(workflow.buckets["archive"].bucket_arn)

    put = rights(template, "Putter")
    assert {resource for _, resource in put} == {below(texts, "/in/*")}
    assert ("s3:PutObject", below(texts, "/in/*")) in put
    read = rights(template, "Reader")
    assert {resource for action, resource in read if action == "s3:GetObject*"} == {
        *(json.dumps(one) for one in (texts, archive)),
        below(texts, "/out/*"),
        below(archive, "/*"),
    }
    assert not any("Put" in action or "Delete" in action for action, _ in read)
    function = stack.resolve(workflow.functions["alone"].function_arn)
    assert ("lambda:InvokeFunction", json.dumps(function)) in rights(template, "Invoker")
    assert {action for action, _ in rights(template, "Invoker")} == {"lambda:InvokeFunction"}


def test_grants_refuse_what_there_is_not(stack: Stack, fdl: Path) -> None:
    workflow = ScarWorkflow(stack, "Words", fdl=fdl)
    role = iam.Role(stack, "Role", assumed_by=iam.AccountRootPrincipal())
    with pytest.raises(KeyError, match="other"):
        workflow.grant_invoke(role, "other")
    with pytest.raises(ValueError, match="Media/Words: alone has no input folder on S3"):
        workflow.grant_put_inputs(role, "alone")


def test_mistakes_in_the_fdl_file_are_raised_with_their_place(stack: Stack, fdl: Path) -> None:
    fdl.write_text(FDL.replace("image: busybox", "imag: busybox"))
    with pytest.raises(FdlError) as caught:
        ScarWorkflow(stack, "Words", fdl=fdl)
    assert f"{fdl}:6:19: error FDL011" in str(caught.value)


def test_arguments_are_checked(stack: Stack, fdl: Path) -> None:
    with pytest.raises(DeploymentError, match=r"^Media/A: stage=Dev: expected lowercase letters"):
        ScarWorkflow(stack, "A", fdl=fdl, stage="Dev")
    with pytest.raises(DeploymentError, match=r"^Media/B: existing_buckets: other not used by w\.yaml"):
        ScarWorkflow(stack, "B", fdl=fdl, existing_buckets=["other"])
    fdl.write_text(FDL.replace("name: alone", "name: alone, region: eu-west-1"))
    with pytest.raises(DeploymentError, match=r"^Media/C: function alone is in region eu-west-1"):
        ScarWorkflow(stack, "C", fdl=fdl)


def test_stacks_of_their_own_keep_the_logical_ids_of_what_holds_data(seed: Synthesized) -> None:
    """A new id would replace the buckets and functions of stacks that are deployed."""
    ids = {name: found["Type"] for name, found in seed.template["Resources"].items()}
    assert {name: kind for name, kind in ids.items() if name in KEPT} == KEPT


def test_the_package_is_loaded_without_the_cdk() -> None:
    program = "import sys, scar_constructs.interpreter as _; sys.exit('aws_cdk' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(ImportError, match="cannot import name 'Workflow'"):
        from scar_constructs import Workflow  # noqa: F401


def template_of(stack: Stack) -> dict[str, Any]:
    app = stack.node.root
    assert isinstance(app, App)
    template: dict[str, Any] = app.synth().get_stack_by_name(stack.stack_name).template
    return template


def of_type(template: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: one["Properties"] for name, one in template["Resources"].items() if one["Type"] == kind}


def rights(template: dict[str, Any], role: str) -> set[tuple[str, str]]:
    """(action, resource as JSON) of a role of the app."""
    found = set()
    for name, policy in of_type(template, "AWS::IAM::Policy").items():
        if name.startswith(role):
            for statement in policy["PolicyDocument"]["Statement"]:
                actions, resources = statement["Action"], statement["Resource"]
                for action in actions if isinstance(actions, list) else [actions]:
                    for resource in resources if isinstance(resources, list) else [resources]:
                        found.add((action, json.dumps(resource)))
    return found


def below(arn: object, rest: str) -> str:
    return json.dumps({"Fn::Join": ["", [arn, rest]]})
