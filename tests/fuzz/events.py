"""Events through `runtime.events.reading` and the handler: documented errors only."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from hypothesis import strategies as st

from containers.errors import ErrorKind, ExplainedError
from runtime import delegation, handler
from runtime.config import FunctionConfig, load_config
from runtime.environment import container_environment
from runtime.errors import InvocationError
from runtime.events import http_async
from runtime.events.invocation import Invocation
from runtime.events.reading import read_event
from runtime.job import JobResult, JobSetting
from runtime.workspace import Workspace, file_name
from tests.fuzz.mutation import VALUES, json_bytes, mutated
from tests.fuzz.target import Check, Target
from tests.unit.runtime import event_shapes as shapes

CONFIG = {
    "version": 1,
    "name": "f",
    "execution_mode": "lambda",
    "image": "img",
    "timeout_s": 300,
    "timeout_threshold_s": 10,
    "log_level": "INFO",
    "inputs": [{"provider": "s3", "bucket": "b", "key_prefix": "in/", "suffix": [], "prefix": []}],
    "outputs": [],
}
_EVENTS = [
    shapes.s3_event("b", "in/a.txt", "in/sub/fail.txt"),
    shapes.s3_event("b", "in/", size=0),
    shapes.event_bridge("b", "in/a b.txt"),
    shapes.rest_request("POST", "Ym9keQ==", {"a": "b"}, in_base64=True),
    shapes.http_request("GET", None, {"a": "b", "utm-source": "x"}),
    {"script": "ZWNobw==", "cmd_args": ["-v", 1]},
    {"cmd_args": '["a"]', "any": {"thing": [1, 2]}},
    {"Event": "s3:TestEvent", "Bucket": "b"},
    {"storage_provider": "s3", "event": shapes.s3_event("b", "in/a.txt")},
    {"event": {"name": "a.txt", "mask": ["IN_CREATE"]}, "subscription": "https://dcache.example.org/s"},
    shapes.rest_request("POST", '{"Records": [{"eventSource": "aws:s3"}]}'),
]
_MESSAGES = [
    *(_EVENTS[0], _EVENTS[2], _EVENTS[7]),
    shapes.sns_in_a_queue(_EVENTS[0]),
    shapes.sns_in_a_queue(_EVENTS[2]),
]
_DEPTHS = (10, 300, 700, 850, 950, 990)


_VALUES = st.one_of(VALUES, VALUES, st.sampled_from([f"@nested {depth}@" for depth in _DEPTHS]))
CASES = st.one_of(
    st.fixed_dictionaries({"event": mutated(_EVENTS, _VALUES)}),
    st.fixed_dictionaries({"messages": st.lists(mutated(_MESSAGES, _VALUES, 2), min_size=1, max_size=4)}),
    st.fixed_dictionaries(
        {
            "messages": st.lists(mutated(_MESSAGES, _VALUES, 1), min_size=1, max_size=3),
            "sqs": mutated([shapes.sqs("", "")], _VALUES, 2),
        }
    ),
    st.fixed_dictionaries({"message": mutated(_MESSAGES, _VALUES)}),
    st.fixed_dictionaries(
        {"job": mutated(_EVENTS, _VALUES), "packed": st.booleans(), "cut": st.integers(0, 40)}
    ),
)


def _text(document: object) -> str:
    text = json_bytes(document).decode()
    for depth in _DEPTHS:
        text = text.replace(f'"@nested {depth}@"', "[" * depth + "]" * depth)
    return text


def _delivered(text: str) -> Any:
    """What Lambda's runtime makes of an event's JSON; it would not deliver what cannot be read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


@contextmanager
def _events(folder: Path) -> Iterator[Check]:
    (folder / "function_config.json").write_text(json.dumps(CONFIG))
    environ = {"SCAR_FUNCTION_DIR": str(folder), "SCAR_STORE": str(folder), "AWS_REGION": "us-east-1"}
    config = load_config(environ)
    workspace = Workspace.at(folder / "w")

    def run(invocation: Invocation, setting: JobSetting) -> JobResult:
        """What a run does with the words of its event, without a container."""
        name = file_name(invocation.source.base_name) if invocation.source else "body"
        assert name not in ("", ".", "..") and "/" not in name and "\0" not in name
        assert len(name.encode()) <= 255
        variables = container_environment(
            invocation,
            setting.config,
            workspace,
            input_file=workspace.input / name,
            request_id=setting.request_id,
            environ={"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"},
            image_env=(),
        )
        for key, value in variables.items():
            assert (
                "\0" not in key + value and "=" not in key and len(os.fsencode(f"{key}={value}")) < 128 * 1024
            )
        delegation._variable(invocation, {})
        assert delegation.job_name("f", invocation)
        if "fail" in name:
            raise ExplainedError("the container failed", kind=ErrorKind.SCRIPT_FAILED)
        return JobResult(invocation.subject, stdout=b"out")

    context = SimpleNamespace(aws_request_id="r", get_remaining_time_in_millis=lambda: 300_000)

    def handled(event: object) -> Any:
        with contextlib.redirect_stdout(io.StringIO()) as log:
            try:
                answer: Any = handler.handle(event, context)
                json.dumps(answer)
            except InvocationError as error:
                answer = error
                assert len(str(error)) < 200_000, "an error of more than 200 000 characters"
        for line in log.getvalue().splitlines():
            assert "traceback" not in json.loads(line), "a traceback in the log"
        return answer

    def check(case: Any) -> None:
        if "job" in case:
            _job(case, config)
            return
        if "event" in case:
            event = _delivered(_text(case["event"]))
            answer = handled(event)
            if http_async.is_answered(event):
                assert answer["statusCode"] in (200, 202, 400, 405, 413), f"HTTP {answer}"
            return
        if "message" in case:
            event = shapes.sns("")
            event["Records"][0]["Sns"]["Message"] = _text(case["message"])
            handled(event)
            return
        event = _batch(case)
        if not isinstance(event, dict) or not isinstance(event.get("Records"), list):
            return
        _each_on_its_own(event, handled)

    with mock.patch.dict(os.environ, environ), mock.patch.object(handler, "run_job", run):
        yield check


def _batch(case: Any) -> Any:
    event = shapes.sqs(*[_text(one) for one in case["messages"]])
    if "sqs" in case:
        changed = _delivered(_text(case["sqs"]))
        if isinstance(changed, dict) and isinstance(changed.get("Records"), list):
            event["Records"] += changed["Records"]
    for number, record in enumerate(event["Records"]):
        if isinstance(record, dict):
            record["messageId"] = f"m{number}"  # SQS itself writes these two: every message has them
            record["eventSource"] = "aws:sqs"
    event["Records"] = [record for record in event["Records"] if isinstance(record, dict)]
    return event


def _each_on_its_own(event: dict[str, Any], handled: Any) -> None:
    """What fails in a batch is what fails alone, whatever else is in the batch."""
    alone = [handled({"Records": [record]}) for record in event["Records"]]
    expected = [
        item["itemIdentifier"]
        for answer in alone
        for item in (
            answer["batchItemFailures"] if isinstance(answer, dict) else [{"itemIdentifier": "raised"}]
        )
    ]
    together = handled(event)
    assert isinstance(together, dict), "a batch that failed as a whole"
    found = [item["itemIdentifier"] for item in together["batchItemFailures"]]
    assert sorted(found) == sorted(expected), f"failed together: {found}, alone: {expected}"


def _job(case: Any, config: FunctionConfig) -> None:
    """The same events, delegated to Batch: through the job's environment."""
    text = _text(case["job"])
    environ = {"SCAR_EVENT": text[: len(text) - case["cut"]]}
    if case["packed"]:
        import base64
        import gzip

        packed = base64.b64encode(gzip.compress(text.encode(errors="replace"))).decode()
        environ = {"SCAR_EVENT_GZ": packed[: len(packed) - case["cut"]]}
    with contextlib.suppress(ExplainedError):
        read_event(delegation.event_of_job(environ), config)


TARGET = Target("events", CASES, _events)
