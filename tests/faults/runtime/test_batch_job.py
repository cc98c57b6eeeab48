"""The entry point of Batch jobs, started as a job starts it: a process with an environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from containers.errors import ExplainedError
from runtime.config import load_config
from runtime.delegation import event_of_job, submit
from runtime.events.reading import read_event
from tests.unit.runtime.conftest import BatchApi, Function
from tests.unit.runtime.event_shapes import event_bridge, rest_request, s3_event

BATCH = {"execution_mode": "batch", "batch": {"timeout_s": 600, "attempts": 2}}
ROOT = Path(__file__).parents[3]

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(function: Function) -> Start:
    def start(environment: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "runtime.batch_job"],
            env={**os.environ, "AWS_BATCH_JOB_ID": "job-1", "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


@pytest.mark.parametrize(
    ("padding", "variable"),
    [("", "SCAR_EVENT"), ("x" * 60_000, "SCAR_EVENT_GZ"), (os.urandom(6_000).hex(), "SCAR_EVENT_URI")],
)
def test_what_the_function_submits_is_what_the_job_runs(  # noqa: PLR0917 - fixtures
    padding: str,
    variable: str,
    function: Function,
    batch_api: BatchApi,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCAR_EVENT_BUCKET", function.bucket.name)
    function.deploy('#!/bin/sh\ncat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/$REQUEST_ID"\n', **BATCH)
    function.bucket.put("in/ü +.txt", b"hello")
    event = {**event_bridge(function.bucket.name, "in/ü +.txt"), "padding": padding}
    function.invoke(event)
    assert set(batch_api.environment()) == {variable}
    # Batch takes 8 192 characters of overrides, with what AWS itself adds to them.
    assert len(str(batch_api.environment())) < 5_000
    job = start(batch_api.environment())
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 0, output
    assert function.bucket.get("out/job-1") == b"hello"
    assert function.leftovers() == []


@pytest.mark.parametrize("size", [10, 300_000])
def test_lambda_batch_hands_over_the_whole_http_request(
    size: int, function: Function, batch_api: BatchApi, start: Start
) -> None:
    event = {**rest_request("POST", "x" * size, {"color": "red"}), "headers": {"Accept": "text/plain"}}
    settings: dict[str, Any] = {**BATCH, "execution_mode": "lambda-batch"}
    function.deploy("#!/bin/sh\nsleep 60\n", **settings)
    answer = function.invoke(event, remaining_ms=5800)
    assert (answer["statusCode"], json.loads(answer["body"])["job_id"]) == (202, "job-1")
    assert event_of_job(batch_api.environment()) == event

    function.deploy('#!/bin/sh\nbody=$(cat "$INPUT_FILE_PATH")\necho "$color" ${#body}\n', **settings)
    job = start(batch_api.environment())
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 0, output
    assert f"red {size}" in output.splitlines()  # nobody is there to be answered: it is in the log


def test_long_event_that_cannot_be_stored_is_not_submitted(
    function: Function, batch_api: BatchApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCAR_EVENT_BUCKET", f"{function.bucket.name}-gone")
    function.deploy("#!/bin/sh\n", **BATCH)
    config = load_config(os.environ)
    (invocation,) = read_event({"noise": os.urandom(40_000).hex()}, config).invocations
    with pytest.raises(ExplainedError) as caught:
        submit([invocation], config, os.environ, "request-1")
    assert caught.value.kind == "SubmitFailed"
    assert "NoSuchBucket" in str(caught.value)
    assert batch_api.requests == []
    assert batch_api.requests == []


@pytest.mark.parametrize(
    ("environment", "code", "told"),
    [
        ({"SCAR_EVENT": '{"code": 7}'}, 1, "exited with code 7"),
        ({"SCAR_EVENT": '{"code": 0}'}, 0, '"status": "done"'),
        ({"SCAR_EVENT": "{"}, 2, "not JSON"),
        ({"SCAR_EVENT_GZ": "H4sI"}, 2, "cannot be unpacked"),
        ({"SCAR_EVENT": '{"Records": [{"eventSource": "x"}]}'}, 2, "Expected an S3 notification"),
        ({}, 2, "has none of SCAR_EVENT, SCAR_EVENT_GZ, SCAR_EVENT_URI and SCAR_EVENTS_URI"),
        (
            {"SCAR_EVENTS_URI": "s3://x/y", "SCAR_EVENTS_WIDTH": "9"},
            2,
            "SCAR_EVENTS_WIDTH and an array index",
        ),
        (
            {"SCAR_EVENT": "{}", "SCAR_SIZE": "1", "SCAR_PREVIOUS_END": "OutOfMemory"},
            0,
            '"message": "next size"',
        ),
    ],
)
def test_exit_code_tells_what_became_of_the_job(
    environment: dict[str, str], code: int, told: str, function: Function, start: Start
) -> None:
    function.deploy("#!/bin/sh\ncase $EVENT in *7*) exit 7;; esac\n", **BATCH)
    job = start(environment)
    output, _ = job.communicate(timeout=60)
    assert job.returncode == code, output
    assert told in output
    assert "Traceback" not in output


def test_missing_configuration_is_not_worth_an_attempt(start: Start) -> None:
    job = start({"SCAR_EVENT": "{}"})
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 2
    assert "function_config.json: the file does not exist" in output


def test_object_that_is_gone_fails_the_job(function: Function, start: Start) -> None:
    function.deploy("#!/bin/sh\n", **BATCH)
    job = start({"SCAR_EVENT": json.dumps(s3_event(function.bucket.name, "in/gone"))})
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 1
    assert "InputMissing" in output


def test_job_that_is_told_to_end_kills_its_container_and_uploads_nothing(
    function: Function, start: Start, tmp_path: Path
) -> None:
    function.deploy(
        "#!/bin/sh\ntrap '' TERM\ntouch $TMP_OUTPUT_DIR/x\necho container runs\nsleep 300\nsleep 300\n",
        **BATCH,
    )
    job = start({"SCAR_EVENT": "{}"})
    assert job.stdout is not None
    lines = []
    for line in job.stdout:
        lines.append(line)
        if line == "container runs\n":
            break
    else:
        pytest.fail("".join(lines))
    job.send_signal(signal.SIGTERM)
    output, _ = job.communicate(timeout=30)
    assert job.returncode == 1
    assert "Terminated" in output
    assert function.bucket.keys("out/") == []
    assert function.leftovers() == []


def test_time_of_a_job_is_batchs(function: Function, start: Start) -> None:
    function.deploy("#!/bin/sh\nsleep 60\n", execution_mode="batch", batch={"timeout_s": 6, "attempts": 1})
    job = start({"SCAR_EVENT": "{}"})
    output, _ = job.communicate(timeout=30)
    assert job.returncode == 124
    assert "TimedOut" in output


def test_time_of_a_job_of_the_next_size_is_its_own(function: Function, start: Start) -> None:
    function.deploy("#!/bin/sh\nsleep 3\n", execution_mode="batch", batch={"timeout_s": 6, "attempts": 1})
    job = start({"SCAR_EVENT": "{}", "SCAR_SIZE": "1", "SCAR_TIMEOUT": "60"})
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 0, output


@pytest.mark.parametrize("ending", ["kill -9 $$", "sh -c 'kill -9 $$'; exit $?", "exit 1"])
def test_exit_code_tells_that_memory_ran_out(
    ending: str, function: Function, start: Start, tmp_path: Path
) -> None:
    # What the kernel counts, and the script pretends to: a run that is really out of memory needs a limit.
    counter = tmp_path / "memory.events"
    counter.write_text("oom 1\noom_kill 1\n")
    function.deploy(f"#!/bin/sh\n[ $REQUEST_ID = job-1 ]\necho started\nsleep 1\n{ending}\n", **BATCH)
    hook = f"import runtime.memory, pathlib; runtime.memory._COUNTERS = (pathlib.Path({str(counter)!r}),)"
    (tmp_path / "sitecustomize.py").write_text(hook)
    job = start({"SCAR_EVENT": "{}", "PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert job.stdout is not None
    while job.stdout.readline() != "started\n":
        pass
    counter.write_text("oom 1\noom_kill 2\n")
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 137, output
    assert '"kind": "OutOfMemory"' in output


def test_a_job_of_an_array_runs_its_own_line(function: Function, start: Start) -> None:
    function.deploy('#!/bin/sh\ncat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/${INPUT_FILE_PATH##*/}"\n', **BATCH)
    names = ["in/a", "in/" + "ü" * 40, "in/c"]
    lines = [json.dumps(s3_event(function.bucket.name, name)) for name in names]
    width = max(map(len, lines)) + 1
    function.bucket.put("launches/0", b"".join(line.encode().ljust(width - 1) + b"\n" for line in lines))
    events = {"SCAR_EVENTS_URI": f"s3://{function.bucket.name}/launches/0", "SCAR_EVENTS_WIDTH": str(width)}
    for number, name in enumerate(names):
        function.bucket.put(name, str(number).encode())
    for number, index in enumerate(
        ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_INDEX", "SCAR_EVENTS_INDEX")
    ):
        job = start({**events, index: str(number)})
        output, _ = job.communicate(timeout=60)
        assert job.returncode == 0, output
    outputs = [name.replace("in/", "out/") for name in names]
    assert [function.bucket.get(name) for name in outputs] == [b"0", b"1", b"2"]


def test_only_the_main_node_uploads(function: Function, start: Start) -> None:
    function.deploy(
        '#!/bin/sh\nread text < "$INPUT_FILE_PATH"\n'
        "echo $text node $AWS_BATCH_JOB_NODE_INDEX of $AWS_BATCH_JOB_NUM_NODES\n"
        'echo x > "$TMP_OUTPUT_DIR/$AWS_BATCH_JOB_NODE_INDEX"\n',
        **BATCH,
    )
    function.bucket.put("in/a", b"input\n")
    nodes = {
        "SCAR_EVENT": json.dumps(s3_event(function.bucket.name, "in/a")),
        "AWS_BATCH_JOB_MAIN_NODE_INDEX": "1",
        "AWS_BATCH_JOB_NUM_NODES": "2",
    }
    jobs = [start({**nodes, "AWS_BATCH_JOB_NODE_INDEX": str(number)}) for number in range(2)]
    outputs = [job.communicate(timeout=60)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], outputs
    assert ["input node 0 of 2" in outputs[0], "input node 1 of 2" in outputs[1]] == [True, True]
    assert function.bucket.keys("out/") == ["out/1"]
    # `--wait` takes a file for done when a summary says so.
    assert ['"status": "node done"' in one for one in outputs] == [True, False]


def test_other_nodes_have_not_failed_when_the_main_node_has_ended(function: Function, start: Start) -> None:
    function.deploy("#!/bin/sh\necho container runs\nsleep 300\n", **BATCH)
    nodes = {"AWS_BATCH_JOB_MAIN_NODE_INDEX": "0", "AWS_BATCH_JOB_NODE_INDEX": "1"}
    job = start({"SCAR_EVENT": "{}", **nodes})
    assert job.stdout is not None
    while job.stdout.readline() != "container runs\n":
        pass
    job.send_signal(signal.SIGTERM)
    output, _ = job.communicate(timeout=30)
    assert job.returncode == 0, output
    assert '"message": "failed"' not in output
