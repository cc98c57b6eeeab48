from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from containers.errors import ExplainedError
from runtime.config import FunctionConfig, StorageFolder
from runtime.events.invocation import VARIABLE_LIMIT
from runtime.events.reading import Work, read_event
from tests.unit.runtime.event_shapes import (
    event_bridge,
    failed_invocation,
    http_request,
    rest_request,
    s3_event,
    s3_record,
    sns,
    sns_in_a_queue,
    sqs,
)

HOSTILE_NAMES = [
    "a b+c.jpg",
    "ü/ñ.png",
    "100%.txt",
    "x'\"$(id).txt",
    "-rf",
    "new\nline",
    "../../etc/passwd",
    "..",
    "😀",
]


def keys(work: Work) -> list[str]:
    return [invocation.source.key for invocation in work.invocations if invocation.source is not None]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_key_of_a_notification_is_decoded(name: str, config: FunctionConfig) -> None:
    assert keys(read_event(s3_event("bucket", f"in/{name}"), config)) == [f"in/{name}"]


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, "a%20b", "a+b"])
def test_key_of_event_bridge_is_taken_as_it_is(name: str, config: FunctionConfig) -> None:
    assert keys(read_event(event_bridge("bucket", f"in/{name}"), config)) == [f"in/{name}"]


def test_each_record_is_one_invocation_with_an_event_of_its_own(config: FunctionConfig) -> None:
    event = s3_event("bucket", "in/a", "in/b b")
    work = read_event(event, config)
    assert keys(work) == ["in/a", "in/b b"]
    assert [invocation.event for invocation in work.invocations] == [
        {"Records": [event["Records"][0]]},
        {"Records": [event["Records"][1]]},
    ]
    assert work.invocations[0].time == "2026-11-22T08:00:00.000Z"


@pytest.mark.parametrize(
    "wrap",
    [
        sns,
        sqs,
        lambda event: sqs(sns_in_a_queue(event)),
        lambda event: sqs(sns(event)),
        lambda event: sqs(failed_invocation(event)),
        lambda event: sqs(failed_invocation(sns(event))),
    ],
)
def test_wrapped_notification_is_unwrapped(wrap: Any, config: FunctionConfig) -> None:
    assert keys(read_event(wrap(s3_event("bucket", "in/a b", "in/c")), config)) == ["in/a b", "in/c"]
    assert keys(read_event(wrap(event_bridge("bucket", "in/a+b")), config)) == ["in/a+b"]


def test_message_that_cannot_be_read_does_not_hold_up_the_others(config: FunctionConfig) -> None:
    direct = failed_invocation({"hello": 1})
    work = read_event(sqs("no JSON", s3_event("bucket", "in/a"), {"hello": 1}, "[1]", direct), config)
    assert work.kind == "queue"
    assert [(invocation.item, invocation.subject) for invocation in work.invocations] == [
        ("m1", "s3://bucket/in/a")
    ]
    assert [item for item, _ in work.unreadable] == ["m0", "m2", "m3", "m4"]


def test_endless_wrapping_is_refused(config: FunctionConfig) -> None:
    for wrapping in (sqs, sns_in_a_queue):
        event: object = s3_event("bucket", "in/a")
        for _ in range(6):
            event = wrapping(event)
        assert [item for item, _ in read_event(sqs(event), config).unreadable] == ["m0"]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "bucket"}, "s3:TestEvent"),
        (sqs({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "bucket"}), "s3:TestEvent"),
        (s3_event("bucket", "in/"), "folder markers"),
        (s3_event("bucket", "in/sub/"), "folder markers"),
        (s3_event("bucket", "in/empty.txt", size=0), "empty (0 bytes)"),
        (event_bridge("bucket", "in/empty.txt", size=0), "empty (0 bytes)"),
        (s3_event("bucket", "elsewhere/a"), "not in an input of the function (bucket/in)"),
        (s3_event("bucket", "input/a"), "not in an input of the function"),
        (s3_event("other", "in/a"), "not in an input of the function"),
        (
            {"Records": [s3_record("bucket", "in/a", name="ObjectRemoved:Delete")]},
            "is not about a new object",
        ),
        (event_bridge("bucket", "in/a", kind="Object Deleted"), "is not about a new object"),
    ],
)
def test_what_is_acknowledged_and_not_run(event: dict[str, Any], reason: str, config: FunctionConfig) -> None:
    work = read_event(event, config)
    assert work.invocations == []
    assert len(work.skipped) == 1
    assert reason in work.skipped[0].reason


def test_filters_of_an_input_decide_by_base_name(config: FunctionConfig) -> None:
    images = StorageFolder("s3", "bucket", "in", prefixes=("seq", "vid"), suffixes=(".jpg", ".png"))
    config = replace(config, inputs=(images,))
    event = s3_event(
        "bucket", "in/seq1.jpg", "in/seq/other.jpg", "in/vid.png", "in/seq.txt", "in/deep/seq2.png"
    )
    work = read_event(event, config)
    assert keys(work) == ["in/seq1.jpg", "in/vid.png", "in/deep/seq2.png"]
    assert all("filters" in skipped.reason for skipped in work.skipped)


def test_filters_of_another_input_do_not_count(config: FunctionConfig) -> None:
    inputs = (
        StorageFolder("s3", "bucket", "pictures", suffixes=(".jpg",)),
        StorageFolder("s3", "bucket", "texts", suffixes=(".txt",)),
    )
    event = s3_event("bucket", "pictures/a.jpg", "pictures/b.txt", "texts/c.txt", "texts/d.jpg")
    assert keys(read_event(event, replace(config, inputs=inputs))) == ["pictures/a.jpg", "texts/c.txt"]


def test_input_of_another_provider_is_not_the_bucket_of_that_name(config: FunctionConfig) -> None:
    config = replace(config, inputs=(StorageFolder("minio.lab", "bucket", "in"),))
    work = read_event(s3_event("bucket", "in/a"), config)
    assert (work.invocations, len(work.skipped)) == ([], 1)


@pytest.mark.parametrize("word", ["a\r\nX-Header: b", "ü", 7, ["a"]])
def test_version_and_etag_that_s3_would_not_write_are_left_out(word: object, config: FunctionConfig) -> None:
    event = s3_event("bucket", "in/a")
    event["Records"][0]["s3"]["object"] |= {"versionId": word, "eTag": word}
    (invocation,) = read_event(event, config).invocations
    assert invocation.source is not None
    assert (invocation.source.version_id, invocation.source.etag) == (None, None)


def test_input_without_folder_takes_the_whole_bucket(config: FunctionConfig) -> None:
    config = replace(config, inputs=(StorageFolder("s3", "bucket"),))
    assert keys(read_event(s3_event("bucket", "a", "b/c"), config)) == ["a", "b/c"]


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        ({"Records": [{"eventSource": "aws:dynamodb", "dynamodb": {}}]}, "aws:dynamodb"),
        ({"Records": "x"}, "no list of `Records`"),
        ({"Records": [1]}, "not an object"),
        ({"Records": [{"eventSource": "aws:s3", "s3": {}}]}, "no s3.bucket.name"),
        (
            {
                "Records": [
                    {"eventSource": "aws:s3", "s3": {"bucket": {"name": "b"}, "object": {"key": "%FF"}}}
                ]
            },
            "UTF-8",
        ),
        ({"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "a%00"}}}]}, "NUL"),
        ({"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}, "not from S3"),
        ({"detail-type": "Object Created", "source": "aws.s3", "detail": {}}, "no detail.bucket.name"),
        (sns("hello"), "not an S3 event"),
    ],
)
def test_event_that_fits_nothing_is_refused_and_told_what_was_expected(
    event: dict[str, Any], cause: str, config: FunctionConfig
) -> None:
    with pytest.raises(ExplainedError) as caught:
        read_event(event, config)
    assert caught.value.kind == "BadEvent"
    assert cause in caught.value.cause
    assert "Expected an S3 notification" in caught.value.advice


@pytest.mark.parametrize("payload", [{}, {"a": 1}, [1, 2], "text", 3, None])
def test_any_other_payload_is_a_direct_invocation(payload: object, config: FunctionConfig) -> None:
    work = read_event(payload, config)
    assert work.kind == "direct"
    assert [(one.event, one.source, one.script, one.arguments) for one in work.invocations] == [
        (payload, None, None, None)
    ]


def test_direct_invocation_brings_script_and_arguments(config: FunctionConfig) -> None:
    script = base64.b64encode(b"#!/bin/sh\necho hi").decode()
    for arguments in (["-v", "a b"], json.dumps(["-v", "a b"])):
        (invocation,) = read_event({"script": script, "cmd_args": arguments}, config).invocations
        assert invocation.script == b"#!/bin/sh\necho hi"
        assert invocation.arguments == ("-v", "a b")


def test_script_beside_records_runs_for_each_of_them(config: FunctionConfig) -> None:
    event = {**s3_event("bucket", "in/a", "in/b"), "script": base64.b64encode(b"x").decode()}
    assert [one.script for one in read_event(event, config).invocations] == [b"x", b"x"]


def test_script_inside_of_a_message_is_not_looked_at(config: FunctionConfig) -> None:
    event = {**s3_event("bucket", "in/a"), "script": base64.b64encode(b"x").decode()}
    for wrapped in (sqs(event), sns(event)):
        assert [one.script for one in read_event(wrapped, config).invocations] == [None]


@pytest.mark.parametrize(
    "bad", [{"script": "%%%"}, {"script": 3}, {"cmd_args": [{"a": 1}]}, {"cmd_args": {"a": 1}}]
)
def test_unreadable_script_or_arguments_are_refused(bad: dict[str, Any], config: FunctionConfig) -> None:
    with pytest.raises(ExplainedError) as caught:
        read_event(bad, config)
    assert caught.value.kind == "BadEvent"


@pytest.mark.parametrize("shape", [rest_request, http_request])
def test_http_request_has_body_and_variables(shape: Any, config: FunctionConfig) -> None:
    work = read_event(shape("POST", "höla", {"color": "red", "utm-source": "x"}), config)
    assert work.kind == "http"
    (invocation,) = work.invocations
    assert invocation.body == "höla".encode()
    assert dict(invocation.variables) == {"color": "red"}
    assert invocation.time == "2026-11-22T08:00:00.000Z"


def test_body_in_base64_is_decoded(config: FunctionConfig) -> None:
    event = rest_request("POST", base64.b64encode(b"\x00\xff").decode(), in_base64=True)
    assert read_event(event, config).invocations[0].body == b"\x00\xff"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "PATH",
            "LD_PRELOAD",
            "AWS_ACCESS_KEY_ID",
            "TMP_OUTPUT_DIR",
            "ld_preload",
            "PYTHONPATH",
            "ENV",
            "IFS",
        ),
        *(
            "BASH_ENV",
            "BASH_FUNC_ls%%",
            "GIT_SSH_COMMAND",
            "NODE_OPTIONS",
            "PERL5OPT",
            "RUBYOPT",
            "JAVA_TOOL_OPTIONS",
        ),
        *("_JAVA_OPTIONS", "LUA_INIT", "GLIBC_TUNABLES", "MAGICK_CONFIGURE_PATH", "FFREPORT", "OPENSSL_CONF"),
        *(
            "http_proxy",
            "REQUESTS_CA_BUNDLE",
            "LESSOPEN",
            "SCAR_STORAGE_SECRET",
            "CONT_VAR_X",
            "EVENT",
            "PROOT_X",
        ),
    ],
)
def test_query_parameter_may_not_change_how_programs_run(name: str, config: FunctionConfig) -> None:
    with pytest.raises(ExplainedError) as caught:
        read_event(rest_request("GET", None, {name: "x"}), config)
    assert caught.value.kind == "BadRequest"
    assert name in caught.value.cause


def test_ordinary_query_parameters_are_variables(config: FunctionConfig) -> None:
    """Also those that start like a reserved one."""
    parameters = dict.fromkeys(
        (
            "rotation",
            "resize",
            "node",
            "git",
            "user",
            "path",
            "term",
            "temp",
            "_x",
            "ldap",
            "W1",
            "javascript",
        ),
        "1",
    )
    (invocation,) = read_event(rest_request("GET", None, parameters), config).invocations
    assert invocation.variables == parameters


def test_query_parameter_that_no_variable_can_have_is_left_to_the_event(config: FunctionConfig) -> None:
    parameters = {"utm-source": "1", "1a": "1", "a b": "1", "": "1", "x" * 129: "1", "ä": "1", "a=b": "1"}
    (invocation,) = read_event(rest_request("GET", None, parameters), config).invocations
    assert invocation.variables == {}
    assert json.loads(invocation.event_variable())["queryStringParameters"] == parameters


def test_longest_query_parameter_and_event_are_those_that_a_program_can_start_with(
    config: FunctionConfig,
) -> None:
    longest = "x" * (VARIABLE_LIMIT - len("name="))
    (invocation,) = read_event(rest_request("GET", None, {"name": longest}), config).invocations
    with pytest.raises(ExplainedError, match="query parameter"):
        read_event(rest_request("GET", None, {"name": longest + "x"}), config)
    longest = "x" * (VARIABLE_LIMIT - len('EVENT={"data":""}'))
    (invocation,) = read_event({"data": longest}, config).invocations
    subprocess.run(["/bin/true"], env={"EVENT": invocation.event_variable()}, check=True)
    (invocation,) = read_event({"data": longest + "x"}, config).invocations
    with pytest.raises(ExplainedError, match="The event is"):
        invocation.event_variable()


@pytest.mark.parametrize("value", ["nul\0", "half\ud800", "x" * 131_072])
def test_query_parameter_that_no_variable_can_hold_is_refused(value: str, config: FunctionConfig) -> None:
    with pytest.raises(ExplainedError) as caught:
        read_event(rest_request("GET", None, {"name": value}), config)
    assert caught.value.kind == "BadRequest"


@pytest.mark.parametrize(
    ("headers", "awaited"),
    [
        (None, True),
        ({"Accept": "*/*"}, True),
        ({"X-Amz-Invocation-Type": "RequestResponse"}, True),
        ({"x-amz-invocation-type": "Event"}, False),
    ],
)
def test_request_is_awaited_unless_it_was_sent_as_an_event(
    headers: dict[str, str] | None, awaited: bool, config: FunctionConfig
) -> None:
    (invocation,) = read_event({**rest_request(), "headers": headers}, config).invocations
    assert (invocation.http, invocation.awaited) == (True, awaited)


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (rest_request("POST", "%", in_base64=True), "BadRequest"),
        (rest_request("POST", "YQ==\n%", in_base64=True), "BadRequest"),
        (rest_request("DELETE"), "MethodNotAllowed"),
    ],
)
def test_bad_request_is_the_callers_fault(event: dict[str, Any], kind: str, config: FunctionConfig) -> None:
    with pytest.raises(ExplainedError) as caught:
        read_event(event, config)
    assert caught.value.kind == kind


def test_event_variable_leaves_out_what_the_run_has_as_a_file(config: FunctionConfig) -> None:
    (invocation,) = read_event(rest_request("POST", "x" * 200_000, {"a": "b"}), config).invocations
    event = json.loads(invocation.event_variable())
    assert "body" not in event
    assert event["queryStringParameters"] == {"a": "b"}


def test_event_that_no_variable_can_hold_is_refused(config: FunctionConfig) -> None:
    (invocation,) = read_event({"data": "x" * 200_000}, config).invocations
    with pytest.raises(ExplainedError) as caught:
        invocation.event_variable()
    assert caught.value.kind == "EventTooLarge"
