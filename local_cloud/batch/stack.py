"""`AWS::Batch::ComputeEnvironment`, `JobQueue` and `JobDefinition` in the emulator's CloudFormation.

A handler takes a resource's properties as the template has them and answers (physical id, attributes for
`Fn::GetAtt`). `Ref` gives an ARN for all three types, as on AWS. A changed job definition becomes a new
revision with a new ARN, after which the old one is deregistered; a name or type that changes makes a new
resource.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.services import batch as stub
from ministack.services.cloudformation import provisioners

from local_cloud.batch.api import Batch
from local_cloud.batch.jobs import Record
from local_cloud.batch.records import ClientError

_Provisioned = tuple[str, dict[str, str]]
_VERBATIM = frozenset({"Tags", "Parameters", "Options"})
"""Maps whose keys are the user's own."""


class BatchStack:
    """CloudFormation's handlers for Batch."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def install(self) -> None:
        """Teach the emulator's CloudFormation the three types."""
        provisioners._RESOURCE_HANDLERS.update(
            {
                "AWS::Batch::ComputeEnvironment": {
                    "create": self.create_compute_environment,
                    "update": self.update_compute_environment,
                    "delete": self.delete_compute_environment,
                },
                "AWS::Batch::JobQueue": {
                    "create": self.create_job_queue,
                    "update": self.update_job_queue,
                    "delete": self.delete_job_queue,
                },
                "AWS::Batch::JobDefinition": {
                    "create": self.create_job_definition,
                    "update": self.update_job_definition,
                    "update_with_logical_id": True,
                    "delete": self.delete_job_definition,
                },
            }
        )
        # What a change of makes a new resource: change sets report it, and updates follow.
        provisioners._REPLACING_PROPERTIES.update(
            {
                "AWS::Batch::ComputeEnvironment": ("ComputeEnvironmentName", "Type", "EksConfiguration"),
                "AWS::Batch::JobQueue": ("JobQueueName",),
                "AWS::Batch::JobDefinition": ("JobDefinitionName",),
            }
        )

    def create_compute_environment(self, logical_id: str, props: Record, stack: str) -> _Provisioned:
        """Create a compute environment."""
        name = props.get("ComputeEnvironmentName") or provisioners._physical_name(stack, logical_id)
        request = {**camel_case(props), "computeEnvironmentName": name}
        return _arn(_call(stub._create_compute_environment(request)), "computeEnvironmentArn")

    def update_compute_environment(
        self, physical_id: str, _old: Record, new: Record, _stack: str
    ) -> _Provisioned:
        """Change a compute environment in place."""
        request = {**camel_case(new), "computeEnvironment": physical_id}
        return _arn(_call(stub._update_compute_environment(request)), "computeEnvironmentArn")

    def delete_compute_environment(self, physical_id: str, _props: Record) -> None:
        """Delete a compute environment."""
        self._batch.delete_compute_environment({"computeEnvironment": physical_id})

    def create_job_queue(self, logical_id: str, props: Record, stack: str) -> _Provisioned:
        """Create a job queue."""
        name = props.get("JobQueueName") or provisioners._physical_name(stack, logical_id)
        return _arn(_call(stub._create_job_queue({**camel_case(props), "jobQueueName": name})), "jobQueueArn")

    def update_job_queue(self, physical_id: str, _old: Record, new: Record, _stack: str) -> _Provisioned:
        """Change a job queue in place."""
        return _arn(self._batch.update_job_queue({**camel_case(new), "jobQueue": physical_id}), "jobQueueArn")

    def delete_job_queue(self, physical_id: str, _props: Record) -> None:
        """Delete a job queue and end its jobs."""
        self._batch.delete_job_queue({"jobQueue": physical_id})

    def create_job_definition(self, logical_id: str, props: Record, stack: str) -> _Provisioned:
        """Register a job definition."""
        name = props.get("JobDefinitionName") or provisioners._physical_name(stack, logical_id)
        request = {**camel_case(props), "jobDefinitionName": name}
        try:
            return _arn(self._batch.register_job_definition(request), "jobDefinitionArn")
        except ClientError as error:
            raise ValueError(str(error)) from error

    def update_job_definition(
        self, physical_id: str, old: Record, new: Record, stack: str, logical_id: str
    ) -> _Provisioned:
        """Register a new revision and deregister the old one when the stack's update is through."""
        name = physical_id.rpartition("/")[2].partition(":")[0]
        created = self.create_job_definition(logical_id, {**new, "JobDefinitionName": name}, stack)
        provisioners._delete_predecessor(self.delete_job_definition, physical_id, old)
        return created

    def delete_job_definition(self, physical_id: str, _props: Record) -> None:
        """Deregister a revision."""
        self._batch.deregister_job_definition({"jobDefinition": physical_id})


def camel_case(value: Any) -> Any:
    """A template's properties as the API spells them, with a small first letter, all the way down."""
    if isinstance(value, list):
        return [camel_case(entry) for entry in value]
    if isinstance(value, dict):
        return {
            key[:1].lower() + key[1:]: entry if key in _VERBATIM else camel_case(entry)
            for key, entry in value.items()
        }
    return value


def _call(response: tuple[int, dict[str, str], bytes]) -> Record:
    status, _headers, body = response
    answer: Record = json.loads(body)
    if status != 200:  # noqa: PLR2004
        raise ValueError(answer.get("message") or answer.get("Message") or str(answer))
    return answer


def _arn(answer: Record, key: str) -> _Provisioned:
    arn = str(answer[key])
    return arn, {key[:1].upper() + key[1:]: arn}
