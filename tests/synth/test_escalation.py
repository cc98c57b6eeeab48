"""The handler of failed Batch jobs, against servers that take calls as Batch and SQS do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_sqs as sqs
from aws_cdk.assertions import Match, Template

from fdl_schemas.model import JobSize
from scar_constructs.batch.escalation import Escalation
from scar_constructs.functions.handler_function import handler_file
from tests.aws_handler import AwsHandler, aws_endpoint

EXITED = "Essential container in task exited"
SIZES = [
    {"memory_mib": 8192, "vcpus": 1, "timeout_s": 600},
    {"memory_mib": 16384, "vcpus": 2.0, "timeout_s": 700},
]


@dataclass
class Aws:
    """What was sent."""

    jobs: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    """Codes of errors with which SubmitJob answers first."""


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    aws = Aws()

    class Handler(AwsHandler):
        def do_POST(self) -> None:  # noqa: N802 (the name that http.server calls)
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/submitjob":
                aws.kept.append(json.loads(request["MessageBody"]))
                self.answer(200, b'{"MessageId": "m"}')
            elif aws.refusals:
                code = aws.refusals.pop(0)
                self.answer(429 if code == "TooManyRequestsException" else 400, b'{"message": "no"}', code)
            else:
                aws.jobs.append(request)
                self.answer(200, json.dumps({"jobId": "next", "jobName": request["jobName"]}).encode())

    with aws_endpoint(Handler, monkeypatch) as endpoint:
        variables = {
            "SIZES": json.dumps(SIZES),
            "JOB_QUEUE": "queue",
            "JOB_DEFINITION": "definition",
            "FAILURE_QUEUE": f"{endpoint}/1/failures",
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield aws


@pytest.fixture
def handler(aws: Aws) -> ModuleType:
    module = ModuleType("escalation_handler")
    exec(compile(handler_file("escalation").read_text(), "escalation/index.py", "exec"), module.__dict__)
    return module


def failed(
    exit_code: int | None = 137, status: str = EXITED, reason: str = "", **variables: str
) -> dict[str, Any]:
    """A state change, in the shape of AWS."""
    container: dict[str, Any] = {
        "environment": [
            {"name": name, "value": value}
            for name, value in {"WORDS": "of the definition", "SCAR_EVENT": "{}", **variables}.items()
        ],
        "resourceRequirements": [
            {"type": "MEMORY", "value": "2048"},
            {"type": "VCPU", "value": "1"},
            {"type": "GPU", "value": "1"},
        ],
    }
    if exit_code is not None:
        container["exitCode"] = exit_code
    if reason:
        container["reason"] = reason
    detail = {
        "jobId": "job",
        "jobName": "f-a-jpg",
        "status": "FAILED",
        "statusReason": status,
        "jobQueue": "elsewhere",
        "attempts": [{"container": {"exitCode": exit_code}, "statusReason": status}],
        "container": container,
    }
    return {"source": "aws.batch", "detail-type": "Batch Job State Change", "detail": detail}


def terminated() -> dict[str, Any]:
    """Of a job that ran out of memory when somebody had terminated it."""
    event = failed(137, "enough", "OutOfMemoryError: Container killed due to memory usage")
    event["detail"]["isTerminated"] = True
    return event


def variables_of(overrides: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in overrides["environment"]}


@pytest.mark.parametrize(
    ("event", "end"),
    [
        (failed(137), "OutOfMemory"),
        (failed(124), "TimedOut"),
        (failed(137, reason="OutOfMemoryError: Container killed due to memory usage"), "OutOfMemory"),
        (failed(None, "Job attempt duration exceeded timeout"), "TimedOut"),
    ],
)
def test_a_job_that_ran_out_of_memory_or_time_goes_on_with_the_next_size(
    event: dict[str, Any], end: str, handler: ModuleType, aws: Aws
) -> None:
    handler.handler(event, None)
    (job,) = aws.jobs
    assert (job["jobName"], job["jobQueue"], job["jobDefinition"]) == ("f-a-jpg", "queue", "definition")
    assert job["timeout"] == {"attemptDurationSeconds": 600}
    assert variables_of(job["containerOverrides"]) == {
        "SCAR_EVENT": "{}",
        "SCAR_SIZE": "1",
        "SCAR_PREVIOUS_JOB": "job",
        "SCAR_PREVIOUS_END": end,
        "SCAR_TIMEOUT": "600",
        "SCAR_MEMORY_MIB": "8192",
    }
    needs = {one["type"]: one["value"] for one in job["containerOverrides"]["resourceRequirements"]}
    assert needs == {"MEMORY": "8192", "VCPU": "1", "GPU": "1"}
    assert aws.kept == []


def test_the_last_size_is_followed_by_the_failure_queue(handler: ModuleType, aws: Aws) -> None:
    handler.handler(failed(SCAR_SIZE="1"), None)
    needs = {one["type"]: one["value"] for one in aws.jobs[0]["containerOverrides"]["resourceRequirements"]}
    assert (needs["MEMORY"], needs["VCPU"]) == ("16384", "2")
    assert variables_of(aws.jobs[0]["containerOverrides"])["SCAR_SIZE"] == "2"
    last = failed(SCAR_SIZE="2")
    handler.handler(last, None)
    assert len(aws.jobs) == 1
    assert aws.kept == [last]


@pytest.mark.parametrize(
    "event",
    [
        failed(1),
        failed(2),
        failed(None, "Task failed to start", "CannotPullContainerError: x"),
        failed(137, "Your Spot Task was interrupted."),
        failed(137, "enough"),  # TerminateJob
        terminated(),
        failed(None, "Host EC2 (instance i-0123456789abcdef0) terminated."),
    ],
)
def test_other_failures_are_kept(event: dict[str, Any], handler: ModuleType, aws: Aws) -> None:
    handler.handler(event, None)
    assert (aws.jobs, aws.kept) == ([], [event])


def test_a_child_of_an_array_goes_on_alone_with_its_line(handler: ModuleType, aws: Aws) -> None:
    event = failed(SCAR_EVENTS_URI="s3://events/launches/1", SCAR_EVENTS_WIDTH="400")
    event["detail"] |= {"jobId": "array:7", "arrayProperties": {"index": 7}}
    handler.handler(event, None)
    (job,) = aws.jobs
    variables = variables_of(job["containerOverrides"])
    assert "arrayProperties" not in job
    assert (variables["SCAR_EVENTS_INDEX"], variables["SCAR_EVENTS_WIDTH"]) == ("7", "400")
    # A single job has no index of its own: the next size reads the same line.
    again: dict[str, Any] = {name: value for name, value in variables.items() if name.startswith("SCAR_")}
    handler.handler(failed(**again), None)
    assert variables_of(aws.jobs[1]["containerOverrides"])["SCAR_EVENTS_INDEX"] == "7"


def test_all_nodes_of_a_job_get_the_next_size(handler: ModuleType, aws: Aws) -> None:
    event = failed(1)
    container = event["detail"].pop("container")
    event["detail"]["attempts"] = [{"container": {"exitCode": 137}, "statusReason": EXITED}]
    event["detail"]["nodeProperties"] = {"numNodes": 2, "nodeRangeProperties": [{"container": container}]}
    handler.handler(event, None)
    (job,) = aws.jobs
    assert "containerOverrides" not in job
    (nodes,) = job["nodeOverrides"]["nodePropertyOverrides"]
    assert nodes["targetNodes"] == "0:"
    assert variables_of(nodes["containerOverrides"])["SCAR_EVENT"] == "{}"


def test_calls_that_are_throttled_are_repeated(handler: ModuleType, aws: Aws) -> None:
    aws.refusals = ["TooManyRequestsException"] * 2
    handler.handler(failed(), None)
    assert (len(aws.jobs), aws.kept) == (1, [])


def test_an_event_whose_next_size_is_refused_is_kept(
    handler: ModuleType, aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.refusals = ["ClientException"]
    event = failed()
    handler.handler(event, None)
    assert (aws.jobs, aws.kept) == ([], [event])
    assert "job: OutOfMemory, but the next size cannot be submitted" in capsys.readouterr().out


def test_the_program_fits_into_a_template() -> None:
    assert len(handler_file("escalation").read_text()) <= 4096


def test_what_neither_the_rule_nor_the_function_can_handle_is_kept() -> None:
    stack = Stack(App(), "Stack")
    queue = sqs.Queue(stack, "Failures")
    Escalation(
        stack,
        "Escalation",
        function_name="f",
        failed=events.EventPattern(source=["aws.batch"]),
        sizes=[JobSize(1, 8192, 600), JobSize(0.5, 16384, 700)],
        job_definition_arn="arn:definition:1",
        job_queue_arn="arn:queue",
        failure_queue=queue,
    )
    template = Template.from_stack(stack)
    ((name, function),) = template.find_resources("AWS::Lambda::Function").items()
    variables = function["Properties"]["Environment"]["Variables"]
    assert json.loads(variables["SIZES"]) == [
        {"memory_mib": 8192, "vcpus": 1, "timeout_s": 600},
        {"memory_mib": 16384, "vcpus": 0.5, "timeout_s": 700},
    ]
    kept = {"Fn::GetAtt": [stack.get_logical_id(queue.node.default_child), "Arn"]}  # type: ignore[arg-type]
    template.has_resource_properties(
        "AWS::Events::Rule",
        {"Targets": [{"Arn": {"Fn::GetAtt": [name, "Arn"]}, "DeadLetterConfig": {"Arn": kept}}]},
    )
    template.has_resource_properties(
        "AWS::Lambda::EventInvokeConfig",
        {"FunctionName": {"Ref": name}, "DestinationConfig": {"OnFailure": {"Destination": kept}}},
    )
    statement = {"Action": "batch:SubmitJob", "Resource": ["arn:queue", "arn:definition:1"]}
    document = {"Statement": Match.array_with([Match.object_like(statement)])}
    policies = [Match.object_like({"PolicyDocument": document})]
    template.has_resource_properties("AWS::IAM::Role", {"Policies": policies})
