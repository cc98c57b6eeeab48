"""The states of a distributed launch, in the Amazon States Language.

    Folder0 ─► Folder1 ─► …        a distributed map each: S3 lists the folder, 250 files go to one execution
       └─ Batch                    an express execution: its files, several at once
            └─ Event ─► Send       S3's event of a file, and Lambda's asynchronous invocation
                          └─► Keep an event that Lambda did not accept is sent to the function's failure queue

Files are sent in batches, because each execution costs a state transition of the launch, and because all
results together are limited to 256 KiB: a batch returns one number, the events that it sent to the failure
queue (times 1000) plus the files that were left out. The executions are express, because one transition of a
standard execution costs as much as 25 of them. They end after 5 minutes; a batch takes at most 3, even if
Lambda accepts an event only at the last attempt. An event that Lambda does not accept does not fail its
batch. Any other error does (no such function, no permission), and the launch ends if more than a few percent
of the batches fail.

All expressions are JSONata; user input appears in them only as JSON strings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fdl_schemas.model import StorageEntry

FILES_IN_A_BATCH = 250
AT_ONCE_IN_A_BATCH = 25
BATCHES_AT_ONCE = 20
"""Used if the launch's input does not contain a number."""
TOLERATED_PERCENTAGE = 5

_BYTES_IN_A_BATCH = 200 * 1024
"""An execution's input may have 256 KiB. A key has at most 1024 bytes: a batch of long ones is smaller."""
_TEMPORARY = [
    "Lambda.TooManyRequestsException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "States.Timeout",
]
_RETRY = {"IntervalSeconds": 1, "BackoffRate": 2, "MaxDelaySeconds": 20, "JitterStrategy": "FULL"}
_FILE = "$states.context.Map.Item.Value"
_INPUT = "$states.context.Execution.Input"

State = dict[str, Any]


def launch_states(
    entries: Sequence[StorageEntry],
    *,
    function_name: str,
    function_arn: str,
    failure_queue_url: str,
    region: str,
    partition: str,
) -> State:
    """The definition of the state machine that launches one function.

    Its input may contain `concurrency` (batches at once) and `skip` (`bucket/key` of a file that has already
    run). Its output contains `kept`, the number of events in the failure queue, and `left_out`, the number of
    listed keys that are not files for the function.

    :param entries: the function's input folders, with the final names of their buckets.
    :param partition: of AWS, for the ARNs of integrations.
    """
    service = f"arn:{partition}:states:::"
    last = len(entries) - 1
    folders: dict[str, State] = {}
    for number, entry in enumerate(entries):
        before = [other for other in entries[:number] if other.bucket == entry.bucket]
        folders[f"Folder{number}"] = {
            "Type": "Map",
            "Label": f"Folder{number}",
            "ItemReader": {
                "Resource": f"{service}s3:listObjectsV2",
                "Arguments": {
                    "Bucket": entry.bucket,
                    **({"Prefix": entry.key_prefix} if entry.key_prefix else {}),
                },
            },
            "ItemSelector": {
                "key": _expression(f"{_FILE}.Key"),
                "size": _expression(f"{_FILE}.Size"),
                "etag": _expression(f"$exists({_FILE}.Etag) ? $replace({_FILE}.Etag, '\"', '') : ''"),
                "wanted": _expression(wanted(entry, before)),
                "launch": _expression("$states.context.Execution.Name"),
            },
            "ItemBatcher": {"MaxItemsPerBatch": FILES_IN_A_BATCH, "MaxInputBytesPerBatch": _BYTES_IN_A_BATCH},
            "MaxConcurrency": _expression(
                f"$exists({_INPUT}.concurrency) ? {_INPUT}.concurrency : {BATCHES_AT_ONCE}"
            ),
            "ToleratedFailurePercentage": TOLERATED_PERCENTAGE,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
                "StartAt": "Batch",
                "States": {
                    "Batch": _batch(
                        {
                            "Event": _event(entry.bucket, region=region, partition=partition),
                            "Send": _send(service, function_arn),
                            "Keep": _keep(service, failure_queue_url, function_arn),
                        }
                    )
                },
            },
            "Output": {
                "kept": _total("kept", "$floor($result / 1000)"),
                "left_out": _total("left_out", "$result % 1000"),
            },
            **({"End": True} if number == last else {"Next": f"Folder{number + 1}"}),
        }
    return {
        "Comment": f"Sends {function_name} an event for each file that is in its input folders",
        "QueryLanguage": "JSONata",
        "StartAt": "Folder0",
        "States": folders,
    }


def wanted(entry: StorageEntry, before: Sequence[StorageEntry] = ()) -> str:
    """The JSONata condition that a listed file is for the function, and was not listed before.

    :param before: entries of the same bucket whose files have had their event.
    """
    conditions = [
        f"{_FILE}.Size > 0",  # the runner treats empty objects as folder markers
        f"$skip != ({_text(f'{entry.bucket}/')} & $key)",
        *_fits(entry),
        *(
            "$not(" + " and ".join([f"$startsWith($key, {_text(other.key_prefix)})", *_fits(other)]) + ")"
            for other in before
            if other.key_prefix.startswith(entry.key_prefix) or entry.key_prefix.startswith(other.key_prefix)
        ),
    ]
    return (
        f"($key := {_FILE}.Key; $name := $split($key, '/')[-1]; "
        f"$skip := $exists({_INPUT}.skip) ? {_INPUT}.skip : ''; "
        "$startsWith := function($text, $part) {$substring($text, 0, $length($part)) = $part}; "
        "$endsWith := function($text, $part) {$substring($text, -$length($part)) = $part}; "
        + " and ".join(conditions)
        + ")"
    )


def _fits(entry: StorageEntry) -> list[str]:
    """Conditions on a file's name, as the runner has them: no folder's marker, and passed by the filters."""
    conditions = ["$name != ''"]
    for function, parts in (("$startsWith", entry.prefixes), ("$endsWith", entry.suffixes)):
        if parts and all(parts):
            conditions.append("(" + " or ".join(f"{function}($name, {_text(part)})" for part in parts) + ")")
    return conditions


def _batch(states: dict[str, State]) -> State:
    return {
        "Type": "Map",
        "Items": _expression("[$states.input.Items[wanted]]"),
        "MaxConcurrency": AT_ONCE_IN_A_BATCH,
        "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "Event", "States": states},
        "Output": _expression(
            "1000 * $sum($states.result) + $count($states.input.Items) - $count($states.result)"
        ),
        "End": True,
    }


def _event(bucket: str, *, region: str, partition: str) -> State:
    """The event that S3 would send, but for a space, which S3 writes as `+` and we as `%20`."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": _expression("$now()"),
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "scar-launch",
            "bucket": {"name": bucket, "arn": f"arn:{partition}:s3:::{bucket}"},
            "object": {
                "key": _expression("$replace($encodeUrlComponent($states.input.key), '%2F', '/')"),
                "size": _expression("$states.input.size"),
                "eTag": _expression("$states.input.etag"),
                # A function with `once` runs again on the files of a new launch.
                "sequencer": _expression("$states.input.launch"),
            },
        },
    }
    return {"Type": "Pass", "Output": {"Records": [record]}, "Next": "Send"}


def _send(service: str, function_arn: str) -> State:
    return {
        "Type": "Task",
        "Resource": f"{service}lambda:invoke",
        "Arguments": {
            "FunctionName": function_arn,
            "InvocationType": "Event",
            "Payload": _expression("$states.input"),
        },
        "TimeoutSeconds": 30,
        "Retry": [{"ErrorEquals": _TEMPORARY, "MaxAttempts": 5, **_RETRY}],
        "Catch": [
            {
                "ErrorEquals": _TEMPORARY,
                "Output": {
                    "event": _expression("$states.input"),
                    "error": _expression("$states.errorOutput"),
                },
                "Next": "Keep",
            }
        ],
        "Output": 0,
        "End": True,
    }


def _keep(service: str, failure_queue_url: str, function_arn: str) -> State:
    """As Lambda's own destination on failure writes it, and `scar status` and `scar retry` read it."""
    cause = "$states.input.error.Cause"
    return {
        "Type": "Task",
        "Resource": f"{service}sqs:sendMessage",
        "Arguments": {
            "QueueUrl": failure_queue_url,
            "MessageBody": {
                "version": "1.0",
                "timestamp": _expression("$now()"),
                "requestContext": {"functionArn": function_arn, "condition": "NotSent"},
                "requestPayload": _expression("$states.input.event"),
                "responsePayload": {
                    "errorType": _expression("$states.input.error.Error"),
                    "errorMessage": _expression(f"$exists({cause}) ? {cause} : ''"),
                },
            },
        },
        "Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 5, **_RETRY}],
        "Output": 1,
        "End": True,
    }


def _total(name: str, share: str) -> str:
    """The sum of a share of each batch's result, and of the folders before."""
    before = f"$states.input.{name}"
    shares = f"$map($states.result, function($result) {{{share}}})"
    return _expression(f"($exists({before}) ? {before} : 0) + $sum([{shares}])")


def _expression(text: str) -> str:
    return f"{{% {text} %}}"


def _text(text: str) -> str:
    """A text as a JSONata literal: JSON's strings are JSONata's."""
    return json.dumps(text, ensure_ascii=False)
