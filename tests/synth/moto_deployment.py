"""Deployment of a template in moto, which implements CloudFormation and AWS's services independently of us.

moto resolves references, checks what the services check of their properties, and keeps the roles, whose
policies then have real ARNs. It has gaps of its own; each that we fill has its reason here.
"""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
import zipfile
from ast import literal_eval
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from tests.synth.policy_findings import policy_findings

ACCOUNT = "123456789012"
REGION = "us-east-1"
_STACK, _TEMPLATE = "workflow", "template.json"
_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": ["lambda.amazonaws.com", "batch.amazonaws.com"]},
        },
    }
)
_SECRET = "AWS::SecretsManager::Secret"
_ALARM = "AWS::CloudWatch::Alarm"
_BATCH_ROLE = "AWSServiceRoleForBatch"
_DIGEST = f"sha256:{'0' * 64}"

NOT_IN_MOTO = {
    "AWS::ApiGateway::Account",
    "AWS::ApiGateway::ApiKey",
    "AWS::ApiGateway::Stage",
    "AWS::ApiGateway::UsagePlan",
    "AWS::ApiGateway::UsagePlanKey",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}
"""Types that moto's CloudFormation skips."""


def problems(template: Path, region: str = REGION) -> list[str]:
    """Resources that moto does not create in an empty account, and findings in the policies of the roles.

    `region` is one of the partition `aws`.

    Raises `ClientError` if moto rejects the template.
    """
    import boto3
    from moto import mock_aws
    from moto.iam.models import iam_backends

    # Generated documents name roles of any account, but AWS accepts only those of the stack's.
    content = json.loads(
        re.sub("arn:aws:iam::[0-9]+:role/", f"arn:aws:iam::{ACCOUNT}:role/", template.read_text())
    )
    config: Any = {"lambda": {"use_docker": False}, "batch": {"use_docker": False}}
    with mock_aws(config=config), _gaps_filled(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about NOT_IN_MOTO
        logging.getLogger("moto").setLevel(logging.ERROR)  # the same, outside of pytest
        assets = f"cdk-hnb659fds-assets-{ACCOUNT}-{region}"
        _prepare(content, region, assets)
        cloudformation = boto3.client("cloudformation", region)
        location = f"https://{assets}.s3.amazonaws.com/{_TEMPLATE}"
        cloudformation.create_stack(StackName=_STACK, TemplateURL=location)
        created = Counter(
            resource["ResourceType"]
            for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=_STACK)
            for resource in page["StackResourceSummaries"]
            if resource["ResourceStatus"] == "CREATE_COMPLETE"
        )
        policies = {
            f"{role.name} {name}": _read(document)
            for role in iam_backends[ACCOUNT]["aws"].roles.values()
            for name, document in role.policies.items()
        }
    wanted = Counter(resource["Type"] for resource in content["Resources"].values())
    missing = {kind: count for kind, count in (wanted - created).items() if kind not in NOT_IN_MOTO}
    found = [f"moto did not create {count} {kind}" for kind, count in missing.items()]
    return found + [f"{name}: {one}" for name, policy in policies.items() for one in policy_findings(policy)]


def _prepare(content: Any, region: str, assets: str) -> None:
    """Create what the template needs of the account: assets, and what it names but does not create."""
    import boto3

    s3, iam = boto3.client("s3", REGION), boto3.client("iam")  # which creates buckets without a location
    s3.create_bucket(Bucket=assets)
    s3.put_object(Bucket=assets, Key=_TEMPLATE, Body=json.dumps(content))
    for key in _values_of("S3Key", content):
        s3.put_object(Bucket=assets, Key=key, Body=_package())
    bootstrap = {"Name": "/cdk-bootstrap/hnb659fds/version", "Value": "30", "Type": "String"}
    boto3.client("ssm", region).put_parameter(**bootstrap)
    given = re.findall(rf"arn:aws:iam::{ACCOUNT}:role/([\w+=,.@/-]+)", json.dumps(content))
    for role in {_BATCH_ROLE, *given}:
        path, slash, name = role.rpartition("/")
        iam.create_role(RoleName=name, Path=f"/{path}{slash}", AssumeRolePolicyDocument=_TRUST)
    for profile in set(re.findall(r"instance-profile/([\w+=,.@-]+)", json.dumps(content))):
        iam.create_instance_profile(InstanceProfileName=profile)
    for queue in set(re.findall(rf"arn:aws:sqs:{region}:{ACCOUNT}:([\w-]+)", json.dumps(content))):
        boto3.client("sqs", region).create_queue(QueueName=queue)
    _make_given_network(json.dumps(content), region)


def _read(document: str | dict[str, Any]) -> Any:
    """A policy, which moto keeps as a dict, as JSON or as `str(dict)`, depending on how it was created."""
    if isinstance(document, dict):
        return document
    try:
        return json.loads(document)
    except ValueError:
        return literal_eval(document)


def _package() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("code.py", "")
    return content.getvalue()


def _values_of(key: str, content: Any) -> Iterator[Any]:
    if isinstance(content, dict):
        if key in content:
            yield content[key]
        content = list(content.values())
    if isinstance(content, list):
        for value in content:
            yield from _values_of(key, value)


def _make_given_network(template: str, region: str) -> None:
    from moto.ec2.models import ec2_backends

    backend = ec2_backends[ACCOUNT][region]
    vpc = backend.create_vpc("10.0.0.0/16")
    for number, subnet in enumerate(sorted(set(re.findall(r"\bsubnet-[0-9a-f]+", template)))):
        with mock.patch("moto.ec2.models.subnets.random_subnet_id", return_value=subnet):
            backend.create_subnet(vpc.id, f"10.0.{number}.0/24")
    for group in set(re.findall(r"\bsg-[0-9a-f]+", template)):
        with mock.patch("moto.ec2.models.security_groups.random_security_group_id", return_value=group):
            backend.create_security_group(group, "given", vpc_id=vpc.id)


@contextmanager
def _gaps_filled() -> Iterator[None]:
    from moto.batch.models import BatchBackend, ComputeEnvironment, JobDefinition, JobQueue
    from moto.cloudformation import parsing
    from moto.cloudformation.custom_model import CustomModel
    from moto.logs.models import LogGroup

    with ExitStack() as patches:

        def replace(holder: Any, name: str, value: Any, **options: Any) -> None:
            patches.enter_context(mock.patch.object(holder, name, value, **options))

        patches.enter_context(mock.patch.dict("os.environ", {"MOTO_ACCOUNT_ID": ACCOUNT}))
        # moto would start the function of a custom resource in Docker.
        replace(CustomModel, "create_from_cloudformation_json", classmethod(_custom_resource))
        # CloudFormation generates names of repositories in lower case.
        generate = parsing.generate_resource_name

        def name(kind: str, stack: str, logical_id: str) -> str:
            generated: str = generate(kind, stack, logical_id)
            return generated.lower() if kind == "AWS::ECR::Repository" else generated

        replace(parsing, "generate_resource_name", name)
        # moto's CloudFormation has no secrets and no alarms.
        class_of = parsing.resource_class_from_type
        replace(
            parsing,
            "resource_class_from_type",
            lambda kind: CustomModel if kind in (_SECRET, _ALARM) else class_of(kind),
        )
        # The attribute of AWS ends in `:*`: it names the streams of the group.
        arn_of = LogGroup.get_cfn_attribute
        replace(LogGroup, "get_cfn_attribute", lambda self, name: f"{arn_of(self, name)}:*")
        # CloudFormation accepts `managed`, and Batch uses its service-linked role if no role is given.
        create = BatchBackend.create_compute_environment

        def create_environment(self: Any, name: str, kind: str, *about: Any) -> Any:
            _state, resources, _role = about
            if resources.get("instanceTypes") == ["default_arm64"]:  # which moto does not know
                resources["instanceTypes"] = ["optimal"]
            return create(self, name, kind.upper(), *about)

        replace(BatchBackend, "create_compute_environment", create_environment)
        # moto registers every definition of CloudFormation with a single container, and loses empty tags.
        register = BatchBackend.register_job_definition

        def register_definition(self: Any, **about: Any) -> Any:
            kind = "multinode" if about["node_properties"] else "container"
            tags = {name: value or "" for name, value in about["tags"].items()}
            return register(self, **about | {"_type": kind, "tags": tags})

        replace(BatchBackend, "register_job_definition", register_definition)
        make = ComputeEnvironment.create_from_cloudformation_json

        def compute_environment(_: Any, name: str, content: Any, *about: Any, **more: Any) -> Any:
            role = {"ServiceRole": f"arn:aws:iam::{ACCOUNT}:role/{_BATCH_ROLE}"}
            return make(name, {"Properties": role | content["Properties"]}, *about, **more)

        replace(ComputeEnvironment, "create_from_cloudformation_json", classmethod(compute_environment))
        # moto has no attributes of Batch's resources. CloudFormation documents one for each.
        for model in (ComputeEnvironment, JobQueue, JobDefinition):
            replace(model, "get_cfn_attribute", _arn, create=True)
        yield


def _custom_resource(_: Any, /, name: str, content: Any, account: str, region: str, **more: Any) -> Any:
    from moto.cloudformation.custom_model import CustomModel

    if more["ResourceType"] == _SECRET:
        name = f"arn:aws:secretsmanager:{region}:{account}:secret:{name}-AbCdEf"
    made = CustomModel(region, "request", more["LogicalId"], name)
    image = f"{account}.dkr.ecr.{region}.amazonaws.com/image@{_DIGEST}"
    made.set_data({"ImageUri": image, "SourceDigest": _DIGEST})
    if more["ResourceType"] == _ALARM:
        _cloudwatch(region).put_metric_alarm(**{"AlarmName": name} | content["Properties"])
        made.set_data({"Arn": f"arn:aws:cloudwatch:{region}:{account}:alarm:{name}"})
    return made


@cache
def _cloudwatch(region: str) -> Any:
    import boto3

    return boto3.client("cloudwatch", region)


def _arn(self: Any, attribute: str) -> str:
    from moto.cloudformation.exceptions import UnformattedGetAttTemplateException

    if attribute != f"{type(self).__name__}Arn":
        raise UnformattedGetAttTemplateException
    return str(self.arn)
