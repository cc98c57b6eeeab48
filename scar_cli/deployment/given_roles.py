"""The permissions of the roles that an FDL file names (`iam.role`).

A template changes nothing about such a role. Lambda checks some of its permissions when a stack is deployed,
and CloudFormation then fails halfway. The metadata of a function contains the policy that its role needs, so
that the permissions can be checked first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import click

from scar_cli.aws.deployed import resources_of_stack
from scar_cli.aws.session import client, explained
from scar_cli.deployment.cdk import SynthesizedStack
from scar_cli.errors import UserError

PERMISSIONS = "scar:permissions"
"""Metadata of a function with a given role, see `scar_constructs.container_function`."""

_ARNS = {
    "AWS::Batch::JobDefinition": "batch:{region}:{account}:job-definition/{name}",
    "AWS::Batch::JobQueue": "batch:{region}:{account}:job-queue/{name}",
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{name}:*",
    "AWS::S3::Bucket": "s3:::{name}",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
    "AWS::SecretsManager::Secret": "secretsmanager:{region}:{account}:secret:{name}",
}
"""The ARN of a resource, without `arn:PARTITION:`."""
_NAMES = ("BucketName", "FunctionName", "LogGroupName", "QueueName", "TableName")
_REF_IS_ARN = ("AWS::Batch::JobDefinition", "AWS::Batch::JobQueue", "AWS::SecretsManager::Secret")
_BUCKET = "AWS::S3::Bucket"
_QUEUE = "AWS::SQS::Queue"
_CERTAIN = 15
"""Characters of the stack's name that are in the name of a bucket or queue in any case."""
_LONGEST_QUEUE_NAME = 80
_ANY = "*"


@dataclass(frozen=True)
class GivenRole:
    """The role of one function."""

    function: str
    role: str
    """Its ARN."""
    policy: Mapping[str, Any]
    """What it needs, as a policy document. `*` stands for names that the deployment generates."""
    exact: tuple[tuple[tuple[str, ...], str], ...]
    """Actions that it needs, each with a resource whose ARN is known completely."""


def given_roles(stack: SynthesizedStack) -> list[GivenRole]:
    """The given roles of the functions of a stack.

    Raises:
        UserError: a call to AWS fails.
    """
    found = []
    for resource in stack.template.get("Resources", {}).values():
        needed = resource.get("Metadata", {}).get(PERMISSIONS)
        role = resource.get("Properties", {}).get("Role")
        if needed is not None and isinstance(role, str):
            values = _Values(stack, role)
            name = str(resource["Properties"]["FunctionName"])
            exact = tuple(values.exact(needed))
            found.append(GivenRole(name, role, dict(values.plain(needed)), exact))
    return found


def check_given_roles(made: Sequence[SynthesizedStack]) -> None:
    """Check that the given roles have the permissions that their functions need.

    If the caller may not ask, or the role does not exist here, a note is printed instead.

    Raises:
        UserError: a role lacks a permission.
    """
    roles = [given for stack in made for given in given_roles(stack)]
    iam = client("iam") if roles else None
    for given in roles:
        try:
            missing = list(_missing(iam, given))
        except UserError as error:
            click.echo(
                f"scar: The permissions of {given.role} were not checked: {error.cause}. "
                "To see the policy that it needs: scar diff --json",
                err=True,
            )
            continue
        if missing:
            click.echo(json.dumps(given.policy, indent=2), err=True)
            raise UserError(
                f"The role {given.role} lacks permissions that the function {given.function} needs: "
                + "; ".join(missing),
                "Add the policy above to the role",
            )


def _missing(iam: Any, given: GivenRole) -> Iterator[str]:
    with explained():
        iam.get_role(RoleName=given.role.rpartition("/")[2])
        for actions, resource in given.exact:
            answer = iam.simulate_principal_policy(
                PolicySourceArn=given.role, ActionNames=list(actions), ResourceArns=[resource]
            )
            for result in answer["EvaluationResults"]:
                # A policy with conditions may still allow it: the simulation does not know their values.
                if result["EvalDecision"] != "allowed" and not result.get("MissingContextValues"):
                    yield f"{result['EvalActionName']} on {resource}"


class _Values:
    """Values of a template as they are in the account and region of a stack."""

    def __init__(self, stack: SynthesizedStack, role: str) -> None:
        cloudformation = client("cloudformation", region=stack.region)
        _arn, partition, _service, _region, account, _name = role.split(":", 5)
        self._resources: Mapping[str, Any] = stack.template.get("Resources", {})
        self._pseudo = {
            "AWS::AccountId": account,
            "AWS::Partition": partition,
            "AWS::Region": str(cloudformation.meta.region_name),
            "AWS::StackName": stack.name,
            "AWS::URLSuffix": "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com",
        }
        self._queues: Mapping[str, str] = {}
        self._stack = (cloudformation, stack.name)

    def exact(self, policy: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
        """The allowed actions of a policy, with each resource that contains no generated name.

        Queues of a new stack are given names such as CloudFormation generates.
        """
        assumed = copy(self)
        assumed._queues = self._names_of_queues()
        for statement in policy["Statement"]:
            if statement["Effect"] == "Allow":
                for resource in _listed(statement["Resource"]):
                    if assumed._is_known(resource):
                        yield tuple(_listed(statement["Action"])), str(assumed.plain(resource))

    def plain(self, value: Any) -> Any:  # noqa: PLR0911 (one for each intrinsic function)
        """A value without intrinsic functions; `*` for what is only known after the deployment."""
        if isinstance(value, list):
            return [self.plain(one) for one in value]
        if not isinstance(value, dict):
            return value
        match value:
            case {"Ref": str(name)}:
                return self._pseudo[name] if name in self._pseudo else self._of_resource(name, "Ref")
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                return self._of_resource(name, attribute)
            case {"Fn::Join": [str(delimiter), parts]}:
                return delimiter.join(map(str, self.plain(parts)))
            case {"Fn::Split": [str(delimiter), text]}:
                return str(self.plain(text)).split(delimiter)
            case {"Fn::Select": [index, parts]}:
                found = self.plain(parts)
                return found[int(index)] if int(index) < len(found) else _ANY
            case {"Fn::Sub": str(text)}:
                for name, known in self._pseudo.items():
                    text = text.replace(f"${{{name}}}", known)
                return text
            case _:
                return {key: self.plain(one) for key, one in value.items()}

    def _names_of_queues(self) -> Mapping[str, str]:
        cloudformation, stack = self._stack
        deployed = {
            str(resource["LogicalResourceId"]): str(resource.get("PhysicalResourceId", "")).rpartition("/")[2]
            for resource in resources_of_stack(cloudformation, stack)
        }
        return {
            identity: deployed.get(identity)
            or f"{stack}-{identity}-0".replace("/", "-")[:_LONGEST_QUEUE_NAME]  # of a nested stack
            for identity, resource in self._resources.items()
            if resource.get("Type") == _QUEUE
        }

    def _of_resource(self, identity: str, attribute: str) -> str:
        resource = self._resources.get(identity, {})
        kind, properties = resource.get("Type"), resource.get("Properties", {})
        # CloudFormation generates names that begin with the stack's, if need be shortened.
        stack = self._pseudo["AWS::StackName"][:_CERTAIN]
        generated = {_BUCKET: f"{stack.lower()}*", _QUEUE: f"{stack}*"}.get(str(kind), _ANY)
        generated = self._queues.get(identity, generated)
        name = next((self.plain(properties[key]) for key in _NAMES if key in properties), generated)
        if kind not in _ARNS or (attribute == "Ref" and kind not in _REF_IS_ARN):
            return str(name)
        place = {"region": self._pseudo["AWS::Region"], "account": self._pseudo["AWS::AccountId"]}
        return f"arn:{self._pseudo['AWS::Partition']}:{_ARNS[kind].format(name=name, **place)}"

    def _is_known(self, value: Any) -> bool:
        """Whether it contains no name that the deployment generates."""
        if isinstance(value, list):
            return all(map(self._is_known, value))
        if not isinstance(value, dict):
            return True
        match value:
            case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), _]} if name in self._resources:
                properties = self._resources[name].get("Properties", {})
                names = [properties[key] for key in _NAMES if key in properties]
                return name in self._queues or (bool(names) and all(map(self._is_known, names)))
            case {"Ref": str(name)}:
                return name in self._pseudo
            case _:
                return all(map(self._is_known, value.values()))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
