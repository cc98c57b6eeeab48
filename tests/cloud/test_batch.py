"""AWS Batch of the embedded cloud: jobs that really run, by its API and by CloudFormation."""

from __future__ import annotations

import json
import os
import signal
import uuid
from typing import Any

import pytest

from scar_constructs.functions.handler_function import handler_file
from tests.cloud.embedded import (
    CloudUnderTest,
    Shell,
    finished,
    job_image,
    log_of,
    make_function,
    make_queue,
    queue_for_rules,
    until,
)

pytestmark = pytest.mark.cloud


def run_job(cloud: CloudUnderTest, command: list[str], *, definition: Any = None, **submission: Any) -> Any:
    batch = cloud.client("batch")
    job_queue, job_definition = make_queue(cloud, command, **(definition or {}))
    job = batch.submit_job(jobName="test", jobQueue=job_queue, jobDefinition=job_definition, **submission)
    return finished(cloud, job["jobId"])


def test_a_job_runs_its_command_with_its_environment_and_logs_its_output(
    cloud: CloudUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.client("logs").create_log_group(logGroupName="/aws/batch/mine")
    job = run_job(
        cloud,
        ["sh", "-c", 'echo "$GIVEN $SCAR_EVENT $1"', "sh", "Ref::what"],
        definition={
            "parameters": {"what": "nothing"},
            "containerProperties": {
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {"awslogs-group": "/aws/batch/mine", "awslogs-stream-prefix": "name"},
                }
            },
        },
        parameters={"what": "a value with spaces; $(id)"},
        containerOverrides={"environment": [{"name": "SCAR_EVENT", "value": "{}"}]},
    )
    assert (job["status"], job["container"]["exitCode"]) == ("SUCCEEDED", 0)
    assert job["container"]["logStreamName"].startswith("name/default/")
    assert log_of(cloud, job) == ["by the definition {} a value with spaces; $(id)"]


def test_a_job_that_fails_is_retried_until_its_attempts_are_used_up(cloud: CloudUnderTest) -> None:
    job = run_job(
        cloud,
        ["sh", "-c", 'echo "attempt $AWS_BATCH_JOB_ATTEMPT"; exit 7'],
        definition={"retryStrategy": {"attempts": 3}},
    )
    assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 7)
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [7, 7, 7]
    assert len({attempt["container"]["logStreamName"] for attempt in job["attempts"]}) == 3
    assert log_of(cloud, job) == ["attempt 3"]


def test_a_job_that_fails_once_succeeds_at_its_second_attempt(cloud: CloudUnderTest) -> None:
    job = run_job(
        cloud, ["sh", "-c", '[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ]'], definition={"retryStrategy": {"attempts": 5}}
    )
    assert job["status"] == "SUCCEEDED"
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [1, 0]


def test_an_exit_code_can_forbid_the_retry(cloud: CloudUnderTest) -> None:
    strategy = {
        "attempts": 4,
        "evaluateOnExit": [{"onExitCode": "1*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}],
    }
    job = run_job(
        cloud,
        ["sh", "-c", 'exit "$((9 + AWS_BATCH_JOB_ATTEMPT * 8))"'],  # 17, then 25
        definition={"retryStrategy": strategy},
    )
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [17, 25]


def test_a_job_over_its_time_is_not_retried(cloud: CloudUnderTest) -> None:
    job = run_job(
        cloud,
        ["sleep", "1000"],
        definition={"retryStrategy": {"attempts": 3}},
        timeout={"attemptDurationSeconds": 1},
    )
    assert job["status"] == "FAILED"
    assert "exceeded timeout" in job["statusReason"]
    assert len(job["attempts"]) == 1


def test_a_missing_log_group_fails_the_job_with_the_reason(cloud: CloudUnderTest) -> None:
    options = {"logDriver": "awslogs", "options": {"awslogs-group": "/not/there"}}
    job = run_job(cloud, ["true"], definition={"containerProperties": {"logConfiguration": options}})
    assert job["status"] == "FAILED"
    assert "/not/there" in job["container"]["reason"]


def test_jobs_wait_for_vcpus_and_can_be_terminated_and_cancelled(cloud: CloudUnderTest) -> None:
    batch = cloud.client("batch")
    job_queue, definition = make_queue(cloud, ["sleep", "1000"])
    ids = [
        batch.submit_job(jobName=f"n{number}", jobQueue=job_queue, jobDefinition=definition)["jobId"]
        for number in range(4)
    ]

    def states() -> list[str]:
        return [job["status"] for job in batch.describe_jobs(jobs=ids)["jobs"]]

    most = min(2, cloud.running.parallel)
    until(states, lambda now: now.count("RUNNING") == most and now.count("RUNNABLE") == 4 - most)
    listed = batch.list_jobs(jobQueue=job_queue, jobStatus="RUNNABLE")["jobSummaryList"]
    assert len(listed) == 4 - most
    batch.cancel_job(jobId=ids[3], reason="not needed")
    for job_id in ids[:3]:
        batch.terminate_job(jobId=job_id, reason="enough")
    until(states, lambda now: now == ["FAILED"] * 4)
    described = batch.describe_jobs(jobs=ids)["jobs"]
    assert [job["statusReason"] for job in described] == ["enough", "enough", "enough", "not needed"]
    assert described[3]["attempts"] == []


def test_a_job_waits_for_the_one_that_it_depends_on(cloud: CloudUnderTest) -> None:
    batch = cloud.client("batch")
    job_queue, failing = make_queue(cloud, ["false"])
    _queue, passing = make_queue(cloud, ["true"])
    first = batch.submit_job(jobName="first", jobQueue=job_queue, jobDefinition=failing)["jobId"]
    after = {"jobQueue": job_queue, "jobDefinition": passing, "dependsOn": [{"jobId": first}]}
    second = finished(cloud, batch.submit_job(jobName="second", **after)["jobId"])
    assert (second["status"], second["statusReason"]) == ("FAILED", "Dependent Job failed")


def test_a_failed_job_reaches_a_queue_by_an_event_rule(cloud: CloudUnderTest) -> None:
    batch, sqs, events = cloud.client("batch"), cloud.client("sqs"), cloud.client("events")
    job_queue, definition = make_queue(cloud, ["false"])
    url, arn = queue_for_rules(cloud, f"failed-{uuid.uuid4().hex[:8]}")
    pattern = {
        "source": ["aws.batch"],
        "detail-type": ["Batch Job State Change"],
        "detail": {"status": ["FAILED"], "jobQueue": [job_queue]},
    }
    events.put_rule(Name="failed-jobs", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="failed-jobs", Targets=[{"Id": "queue", "Arn": arn}])
    override = {"environment": [{"name": "SCAR_EVENT", "value": '{"key": "ü"}'}]}
    job = batch.submit_job(
        jobName="fails", jobQueue=job_queue, jobDefinition=definition, containerOverrides=override
    )
    finished(cloud, job["jobId"])
    messages = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, MaxNumberOfMessages=10)["Messages"]
    (message,) = messages
    event = json.loads(message["Body"])
    assert event["detail"]["jobId"] == job["jobId"]
    assert event["resources"] == [job["jobArn"]]
    assert {"name": "SCAR_EVENT", "value": '{"key": "ü"}'} in event["detail"]["container"]["environment"]


@pytest.mark.parametrize(
    ("call", "arguments", "said"),
    [
        ("submit_job", {"jobName": "x", "jobQueue": "none", "jobDefinition": "none"}, "none does not exist"),
        ("submit_job", {"jobName": "a b", "jobQueue": "none", "jobDefinition": "none"}, "jobName"),
        ("terminate_job", {"jobId": "x", "reason": ""}, "reason"),
    ],
)
def test_a_wrong_call_is_refused_as_a_client_exception(
    cloud: CloudUnderTest, call: str, arguments: dict[str, str], said: str
) -> None:
    batch = cloud.client("batch")
    with pytest.raises(batch.exceptions.ClientException, match=said):
        getattr(batch, call)(**arguments)


# CloudFormation.


def batch_template(image: str, **properties: Any) -> dict[str, Any]:
    return {
        "Resources": {
            "Environment": {
                "Type": "AWS::Batch::ComputeEnvironment",
                "Properties": {
                    "Type": "managed",
                    "ComputeResources": {
                        "Type": "FARGATE",
                        "MaxvCpus": 2,
                        "Subnets": ["s"],
                        "SecurityGroupIds": ["g"],
                    },
                },
            },
            "Queue": {
                "Type": "AWS::Batch::JobQueue",
                "Properties": {
                    "Priority": 1,
                    "ComputeEnvironmentOrder": [
                        {
                            "Order": 1,
                            "ComputeEnvironment": {"Fn::GetAtt": ["Environment", "ComputeEnvironmentArn"]},
                        }
                    ],
                },
            },
            "Definition": {
                "Type": "AWS::Batch::JobDefinition",
                "Properties": {
                    "Type": "container",
                    "PlatformCapabilities": ["FARGATE"],
                    "ContainerProperties": {
                        "Image": image,
                        "Command": ["sh", "-c", "echo $GIVEN"],
                        "Environment": [{"Name": "GIVEN", "Value": "text"}],
                        "ResourceRequirements": [{"Type": "VCPU", "Value": "0.5"}],
                    },
                    **properties,
                },
            },
        },
        "Outputs": {
            "Queue": {"Value": {"Fn::GetAtt": ["Queue", "JobQueueArn"]}},
            "Definition": {"Value": {"Ref": "Definition"}},
        },
    }


def outputs(cloud: CloudUnderTest, stack: str) -> dict[str, str]:
    described = cloud.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}


def wait_for(cloud: CloudUnderTest, what: str, stack: str) -> None:
    waiter = cloud.client("cloudformation").get_waiter(f"stack_{what}_complete")
    waiter.wait(StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def test_a_stack_makes_changes_and_deletes_batch_resources(cloud: CloudUnderTest) -> None:
    cloudformation, batch = cloud.client("cloudformation"), cloud.client("batch")
    image = job_image(cloud)
    cloudformation.create_stack(StackName="batch", TemplateBody=json.dumps(batch_template(image)))
    wait_for(cloud, "create", "batch")
    made = outputs(cloud, "batch")
    submitted = {"jobName": "x", "jobQueue": made["Queue"], "jobDefinition": made["Definition"]}
    job = finished(cloud, batch.submit_job(**submitted)["jobId"])
    assert log_of(cloud, job) == ["text"]

    changed = batch_template(image, RetryStrategy={"Attempts": 2})
    changed["Resources"]["Environment"]["Properties"]["ComputeResources"]["MaxvCpus"] = 7
    cloudformation.update_stack(StackName="batch", TemplateBody=json.dumps(changed))
    wait_for(cloud, "update", "batch")
    new = outputs(cloud, "batch")
    assert new["Queue"] == made["Queue"]
    assert new["Definition"] == made["Definition"].removesuffix(":1") + ":2"
    definitions = batch.describe_job_definitions(jobDefinitions=[made["Definition"], new["Definition"]])
    assert [known["status"] for known in definitions["jobDefinitions"]] == ["INACTIVE", "ACTIVE"]
    environments = batch.describe_compute_environments()["computeEnvironments"]
    assert 7 in [environment["computeResources"]["maxvCpus"] for environment in environments]

    cloudformation.delete_stack(StackName="batch")
    wait_for(cloud, "delete", "batch")
    assert batch.describe_job_queues(jobQueues=[made["Queue"]])["jobQueues"] == []
    definitions = batch.describe_job_definitions(jobDefinitions=[new["Definition"]])["jobDefinitions"]
    assert [known["status"] for known in definitions] == ["INACTIVE"]


def lines(shell: Shell) -> list[str]:
    """What the jobs have written, over all of their attempts."""
    logs = shell.client("logs")
    if not logs.describe_log_groups(logGroupNamePrefix="/aws/batch/job")["logGroups"]:
        return []
    return [event["message"] for event in logs.filter_log_events(logGroupName="/aws/batch/job")["events"]]


def test_a_job_that_a_stop_interrupts_is_run_again_and_has_lost_no_attempt(shell: Shell) -> None:
    shell.json("local", "start")
    s3 = shell.client("s3")
    s3.create_bucket(Bucket="files")
    file = {"Bucket": "files", "Key": "done"}
    url = s3.generate_presigned_url("get_object", Params=file)
    script = f"wget -q -O /dev/null '{url}' || {{ echo waits $AWS_BATCH_JOB_ATTEMPT; sleep 1000; }}"
    job_queue, definition = make_queue(shell, ["sh", "-c", f"echo $AWS_BATCH_JOB_ATTEMPT; {script}"])
    submitted = {"jobName": "interrupted", "jobQueue": job_queue, "jobDefinition": definition}
    job_id = shell.client("batch").submit_job(**submitted)["jobId"]
    until(lambda: "waits 1" in lines(shell))
    s3.put_object(**file)
    shell.scar("local", "stop")
    shell.json("local", "start")
    job = until(
        lambda: shell.client("batch").describe_jobs(jobs=[job_id])["jobs"][0],
        lambda job: job["status"] in ("SUCCEEDED", "FAILED"),
    )
    assert job["status"] == "SUCCEEDED"
    assert [line for line in lines(shell) if line.isdigit()] == ["1", "1"]
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [0]


def test_a_job_that_was_told_to_stop_is_not_run_again(shell: Shell) -> None:
    shell.json("local", "start")
    script = "trap '' TERM; echo run; sleep 1000"  # it does not listen
    job_queue, definition = make_queue(shell, ["sh", "-c", script])
    batch = shell.client("batch")
    submitted = {"jobName": "stopped", "jobQueue": job_queue, "jobDefinition": definition}
    job_id = batch.submit_job(**submitted)["jobId"]
    until(lambda: lines(shell) == ["run"])
    batch.terminate_job(jobId=job_id, reason="not needed")
    os.kill(shell.running()["emulator_pid"], signal.SIGKILL)
    until(shell.processes, lambda left: left == [])
    shell.json("local", "start")
    (job,) = shell.client("batch").describe_jobs(jobs=[job_id])["jobs"]
    assert (job["status"], job["statusReason"]) == ("FAILED", "not needed")
    assert lines(shell) == ["run"]


def test_a_job_that_ran_out_of_memory_continues_with_the_next_size(cloud: CloudUnderTest) -> None:
    """From the kill to the next job, through the rule and the function that a stack has for it."""
    script = """
    if [ "$SCAR_SIZE" = 1 ]; then echo "$SCAR_EVENT after $SCAR_PREVIOUS_END"; exit 0; fi
    x=$(head -c 200000000 /dev/zero | tr '\\0' x)
    """
    strategy = {
        "attempts": 3,
        "evaluateOnExit": [
            {"onExitCode": "137", "action": "EXIT"},
            {"onReason": "OutOfMemoryError*", "action": "EXIT"},
        ],
    }
    needs = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "64"}]
    job_queue, definition = make_queue(
        cloud,
        ["sh", "-c", script],
        containerProperties={"resourceRequirements": needs},
        retryStrategy=strategy,
    )
    failures = cloud.client("sqs").create_queue(QueueName=f"failed-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    name = f"escalation-{uuid.uuid4().hex[:8]}"
    variables = {
        "SIZES": '[{"memory_mib":512,"vcpus":0.5,"timeout_s":300}]',
        "JOB_QUEUE": job_queue,
        "JOB_DEFINITION": definition,
        "FAILURE_QUEUE": failures,
    }
    program = handler_file("escalation").read_text() + "\nhandle = handler\n"
    arn = make_function(cloud, name, program, Environment={"Variables": variables}, Timeout=60)
    events = cloud.client("events")
    pattern = {
        "source": ["aws.batch"],
        "detail": {"status": ["FAILED"], "jobDefinition": [{"prefix": definition.rpartition(":")[0] + ":"}]},
    }
    rule = events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
    cloud.client("lambda").add_permission(
        FunctionName=name,
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )
    events.put_targets(Rule=name, Targets=[{"Id": "function", "Arn": arn}])
    override = {"environment": [{"name": "SCAR_EVENT", "value": "the event"}]}
    batch = cloud.client("batch")
    first = batch.submit_job(
        jobName="grows", jobQueue=job_queue, jobDefinition=definition, containerOverrides=override
    )["jobId"]
    killed = finished(cloud, first)
    assert (killed["status"], killed["container"]["exitCode"]) == ("FAILED", 137)
    assert len(killed["attempts"]) == 1
    named = [{"name": "JOB_NAME", "values": ["grows"]}]

    def next_job() -> list[str]:
        found = batch.list_jobs(jobQueue=job_queue, filters=named)["jobSummaryList"]
        return [job["jobId"] for job in found if job["jobId"] != first]

    (job_id,) = until(next_job)
    job = finished(cloud, job_id)
    assert job["status"] == "SUCCEEDED"
    assert log_of(cloud, job) == ["the event after OutOfMemory"]
    memory = {need["type"]: need["value"] for need in job["container"]["resourceRequirements"]}["MEMORY"]
    assert (memory, job["timeout"]) == ("512", {"attemptDurationSeconds": 300})
