"""The state machine that `scar-launch --distributed` starts: it lists a function's input folders in AWS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from fdl_schemas.model import ExecutionMode, Function, StorageEntry
from scar_constructs.findings import acknowledge, acknowledge_wildcard
from scar_constructs.functions.data_access import allow
from scar_constructs.functions.retention import log_group
from scar_constructs.functions.service_principal import service_principal
from scar_constructs.launch.states import launch_states

_LOG = "Log deliveries do not support resources; Step Functions creates this log's own one with them."
_OWN_RUNS = "Only executions of this state machine; their names are generated when they start."


class DistributedLaunch(Construct):
    """A state machine that sends an event for each existing file in a function's input folders.

    Its role may list these folders, invoke this function, send to its failure queue, and run the state
    machine's own batches; nothing else. It causes no cost while it does not run.

    :param definition: the function; its entries contain final bucket names.
    :param function: the function to invoke.
    :param failure_queue: receives the events that Lambda did not accept.
    :param buckets: the buckets that it reads from, by name.
    :param retention: of the log, which contains only errors.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        definition: Function,
        function: lambda_.IFunction,
        failure_queue: sqs.IQueue,
        buckets: Mapping[str, s3.IBucket],
        retention: logs.RetentionDays,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        entries = launchable(definition)
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=service_principal("states.amazonaws.com", source_arn=_state_machines(stack)),
            description=f"Permissions of the launch of {definition.name}",
        )
        self._grant_folders(entries, buckets)
        allow(self.role, ["lambda:InvokeFunction"], [function.function_arn])
        allow(self.role, ["sqs:SendMessage"], [failure_queue.queue_arn])
        states = launch_states(
            entries,
            function_name=definition.name,
            function_arn=function.function_arn,
            failure_queue_url=failure_queue.queue_url,
            region=stack.region,
            partition=stack.partition,
        )
        # Names with this prefix need no policy of their own, of which an account has room for ten.
        log = log_group(self, "Logs", retention, f"/aws/vendedlogs/states/scar-launch-{definition.name}")
        self.state_machine = stepfunctions.StateMachine(
            self,
            "StateMachine",
            state_machine_name=f"scar-launch-{definition.name}",
            comment=f"Runs {definition.name} on existing files",
            definition_body=stepfunctions.DefinitionBody.from_string(stack.to_json_string(states)),
            role=self.role,
            logs=stepfunctions.LogOptions(
                destination=log, level=stepfunctions.LogLevel.ERROR, include_execution_data=True
            ),
        )
        self._grant_own_runs()
        acknowledge(self.role, "AwsSolutions-IAM5[Resource::*]", _LOG)
        acknowledge(
            self.state_machine,
            "AwsSolutions-SF1",
            "A launch has several steps for each file: a log of all of them would cost more than the launch.",
        )
        acknowledge(
            self.state_machine,
            "AwsSolutions-SF2",
            "The launch sends asynchronous events and does not wait: there is no request path to trace.",
        )

    def _grant_folders(self, entries: Sequence[StorageEntry], buckets: Mapping[str, s3.IBucket]) -> None:
        for bucket in dict.fromkeys(entry.bucket for entry in entries):
            prefixes = [entry.key_prefix for entry in entries if entry.bucket == bucket]
            # In a condition `${…}` is a variable of the policy: `${aws:username}/` differs for each caller.
            texts = [prefix.replace("$", "${$}") for prefix in prefixes]
            conditions = {"StringEquals": {"s3:prefix": texts}} if all(prefixes) else None
            self.role.add_to_principal_policy(
                iam.PolicyStatement(
                    actions=["s3:ListBucket"], resources=[buckets[bucket].bucket_arn], conditions=conditions
                )
            )

    def _grant_own_runs(self) -> None:
        """In a policy of its own, since the state machine needs its role to be there first."""
        stack = Stack.of(self)
        executions = stack.format_arn(
            service="states",
            resource="execution",
            resource_name=self.state_machine.state_machine_name,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        policy = iam.Policy(self, "OwnRuns", roles=[self.role])
        policy.add_statements(
            iam.PolicyStatement(
                actions=["states:StartExecution"], resources=[self.state_machine.state_machine_arn]
            ),
            iam.PolicyStatement(
                actions=["states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"],
                resources=[f"{executions}:*", f"{executions}/*"],
            ),
        )
        for arn in (f"{executions}:*", f"{executions}/*"):
            acknowledge_wildcard(policy, arn, _OWN_RUNS)


def _state_machines(stack: Stack) -> str:
    """Pattern for the ARNs of all state machines of the stack's account and region.

    The executions of a distributed map run under names of their own.
    """
    return stack.format_arn(
        service="states", resource="stateMachine", resource_name="*", arn_format=ArnFormat.COLON_RESOURCE_NAME
    )


def launchable(definition: Function) -> tuple[StorageEntry, ...]:
    """The input folders of a function whose files can be listed: those of this account's buckets.

    Nothing in `batch` mode: `scar-launch` submits array jobs, and one call of SubmitJob for each event would
    exceed what Batch accepts.
    """
    if definition.execution_mode == ExecutionMode.BATCH:
        return ()
    return tuple(
        entry for entry in definition.inputs if entry.provider == "s3" and not entry.is_notified_elsewhere
    )
