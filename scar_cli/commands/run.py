"""`scar run`: run a function now, with a script or a command, or on the files in its input folder.

A function that reads from S3, selected by its FDL file and without script or command, runs once for each file
in its input folder, as with `scar-launch`.
"""

from __future__ import annotations

import base64
import json
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from scar_cli.aws.deployed import DeployedFunction, one_selected, workflow_of
from scar_cli.aws.session import client, error_code, explained
from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.files import read_file, require_writable, write_file
from scar_cli.options import prints_json, selects_functions
from scar_cli.table import printable, printable_lines

if TYPE_CHECKING:
    from fdl_schemas.model import Function

_ANSWER_WITHIN_S = 930
"""A function runs for 900 seconds at most."""
_PAYLOAD_LIMIT = {"RequestResponse": 6 * 1024**2, "Event": 1024**2, "DryRun": 6 * 1024**2}
"""https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
_LOG_WITHIN_S = 5.0
_WOULD_RUN = 204
"""Status code of AWS Lambda for a dry run."""


@dataclass(frozen=True)
class RunResult:
    """The result of one call."""

    status_code: int
    request_id: str
    output: str = ""
    """The end of what the container wrote."""
    job_id: str | None = None
    failure: str | None = None
    content: object = None
    """The whole response of the function."""
    log: str = ""
    """The end of the run's log, if it was requested."""


@with_examples(
    "run",
    "scar run -n scar-cowsay",
    "scar run -n my-function ls -l /",
    "scar run -n my-function -s script.sh -o output.txt",
    "scar run -f workflow.yaml",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@selects_functions
@click.option(
    "-s", "--script", "--run-script", metavar="FILE", help="Run this script instead of the function's own."
)
@click.option("-a", "--asynchronous", is_flag=True, help="Do not wait for the run to finish.")
@click.option("-o", "--output", "--output-file", metavar="FILE", help="Write the output to this file.")
@click.option(
    "-ib",
    "--input-bucket",
    "bucket_path",
    metavar="BUCKET/FOLDER",
    help="With -f: run once for each file in this folder of the function's input.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show each step and the end of the log.")
@prints_json
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
def command(
    *,
    fdl: str | None,
    name: str | None,
    stack: str | None,
    stage: str | None,
    script: str | None,
    asynchronous: bool,
    output: str | None,
    bucket_path: str | None,
    verbose: bool,
    as_json: bool,
    arguments: tuple[str, ...],
) -> int:
    """Run a function, optionally with a script or a command.

    Arguments after the options are the command for the container. With -f and without a script or command, a
    function with an input folder runs once for each file in it, as with `scar-launch`.
    """
    if script is not None and arguments:
        raise UserError("Cannot run both a script and a command", "Use only one of them")
    if output is not None:
        require_writable(output)
    if bucket_path is not None:
        if fdl is None or script is not None or arguments:
            raise UserError(
                "-ib needs the FDL file of the function, and neither script nor command",
                "Use scar run -f FILE -ib BUCKET/FOLDER, or scar-launch",
            )
        return _launch(fdl, name, stage, bucket_path, stack=stack, output=output, as_json=as_json)
    defined = _definition(fdl, name)
    if fdl is not None and defined is None and script is None and not arguments:
        return _launch(fdl, name, stage, stack=stack, output=output, as_json=as_json)
    function = one_selected(fdl, name, stack, stage)
    payload: Any = {}
    kind = "Event" if asynchronous else "RequestResponse"
    if defined is not None:
        kind = kind if asynchronous else _kind_of(defined)
        if not arguments and defined.run.payload is not None:
            payload = defined.run.payload
        if not arguments and script is None and defined.run.run_script is not None:
            script = str(defined.run.run_script)
    if script is not None:
        payload = {**(payload if isinstance(payload, dict) else {}), "script": _script(script)}
    if arguments:
        payload = {"cmd_args": list(arguments)}
    shows_log = defined is None or defined.run.log_type == "Tail"
    if verbose:
        answer = _call_in_words(function, payload, script=script, kind=kind, shows_log=shows_log)
    else:
        answer = call(function, payload, kind=kind)
    _report(function, answer, output=output, verbose=verbose, as_json=as_json)
    return 1 if answer.failure is not None else 0


def call(
    function: DeployedFunction, payload: object, *, kind: str = "RequestResponse", shows_log: bool = False
) -> RunResult:
    """Invoke a function with a payload.

    Args:
        function: the function.
        payload: the event.
        kind: `RequestResponse`, `Event` (does not wait for the end of the run) or `DryRun` (nothing runs).
        shows_log: request the end of the log, if the call waits for the end of the run.

    Raises:
        UserError: the call was not accepted.
    """
    body = json.dumps(payload).encode()
    if len(body) > _PAYLOAD_LIMIT[kind]:
        limit = _PAYLOAD_LIMIT[kind] // 1024**2
        raise UserError(
            f"The script and the payload are {len(body)} bytes long; Lambda accepts {limit} MiB",
            "Upload large data to a bucket",
        )
    # Without retries: a call that is repeated after a timeout would run twice.
    lambda_ = client(
        "lambda",
        region=function.region,
        read_timeout=_ANSWER_WITHIN_S,
        retries={"total_max_attempts": 1} if kind != "Event" else {"mode": "adaptive", "max_attempts": 10},
    )
    log = {"LogType": "Tail"} if shows_log and kind == "RequestResponse" else {}
    try:
        with explained():
            answer = lambda_.invoke(FunctionName=function.name, InvocationType=kind, Payload=body, **log)
            content = answer["Payload"].read()
    except UserError as error:
        if error_code(error.__cause__ or error) == "ResourceNotFoundException":
            raise UserError(
                f"The function {function.name} of the stack {function.stack} no longer exists",
                "Deploy the workflow again: scar init -f FILE",
            ) from error
        raise
    return _read(answer, content)


def _call_in_words(
    function: DeployedFunction, payload: object, *, script: str | None, kind: str, shows_log: bool
) -> RunResult:
    """The same as `call`, and each step on standard error."""
    for line in _steps(function, payload, script=script, kind=kind):
        click.echo(line, err=True)
    started = time.monotonic()
    answer = call(function, payload, kind=kind, shows_log=shows_log)
    outcome = "Failed" if answer.failure is not None else "Accepted" if answer.content is None else "Finished"
    click.echo(f"{outcome} after {time.monotonic() - started:.1f} s", err=True)
    return answer


def _steps(function: DeployedFunction, payload: object, *, script: str | None, kind: str) -> Iterator[str]:
    """The call in words."""
    yield f"Calling the function {function.name} in {function.region} (stack {function.stack})"
    if isinstance(payload, dict) and "cmd_args" in payload:
        yield f"The container runs the command: {printable(shlex.join(payload['cmd_args']))}"
    elif script is not None:
        yield f"The container runs the script {printable(script)}"
    else:
        yield "The container runs the script of the function, or the command of its image"
    rest = (
        {key: value for key, value in payload.items() if key not in ("script", "cmd_args")}
        if isinstance(payload, dict)
        else payload
    )
    if rest:
        yield f"Payload: {len(json.dumps(rest).encode())} bytes of JSON"
    yield {
        "RequestResponse": "Waiting for the run to finish",
        "Event": "Not waiting for the run to finish (asynchronous)",
        "DryRun": "Asking only whether the function could run (DryRun)",
    }[kind]


def _kind_of(definition: Function) -> str:
    kind = definition.run.invocation_type
    return "Event" if definition.run.asynchronous and kind == "RequestResponse" else kind


def _definition(fdl: str | None, name: str | None) -> Function | None:
    """The function of the FDL file, if it is called directly: it has no input, or it has a payload."""
    if fdl is None:
        return None
    workflow = workflow_of(fdl)
    direct = [
        function
        for function in workflow.functions
        if not any(entry.provider == "s3" for entry in function.inputs)
        or function.run.payload is not None
        or function.run.run_script is not None
    ]
    if name is not None:
        direct = [function for function in direct if function.name == name]
    elif len(workflow.functions) > 1 and len(direct) != len(workflow.functions):
        direct = []
    return direct[0] if len(direct) == 1 else None


def _launch(
    fdl: str,
    name: str | None,
    stage: str | None,
    bucket_path: str | None = None,
    *,
    stack: str | None,
    output: str | None,
    as_json: bool,
) -> int:
    from scar_cli.commands.launch import command as launch

    if stack is not None:
        raise UserError(
            "--stack does not apply to a launch, which finds the function by its FDL file",
            "Omit --stack. For a stage, add --stage",
        )
    if output is not None:
        raise UserError(
            "-o is for the output of one run, and here each file has its own run",
            "Leave it out, and download the outputs: scar get",
        )
    arguments = ["-f", fdl, *(["-n", name] if name else []), *(["--json"] if as_json else [])]
    if stage is not None:
        arguments += ["--stage", stage]
    if bucket_path is not None:
        arguments += ["--bucket-path", bucket_path]
    result = launch.main(args=arguments, prog_name="scar run", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _script(path: str) -> str:
    content = read_file(path, "The script ")
    if not content.strip():
        raise UserError(f"The script {path} is empty", "Use another file")
    return base64.b64encode(content).decode("ascii")


def _read(answer: dict[str, Any], payload: bytes) -> RunResult:
    status, request_id = int(answer["StatusCode"]), str(answer["ResponseMetadata"].get("RequestId", ""))
    log = base64.b64decode(answer.get("LogResult", "")).decode(errors="replace")
    try:
        content = json.loads(payload or b"null")
    except (ValueError, RecursionError):
        content = payload.decode(errors="replace")
    if "FunctionError" in answer:
        reason = content.get("errorMessage", content) if isinstance(content, dict) else content
        return RunResult(status, request_id, failure=str(reason).strip(), content=content, log=log)
    if not isinstance(content, dict):
        return RunResult(status, request_id, content=content, log=log)
    results = content.get("results")
    first = results[0] if isinstance(results, list) and results and isinstance(results[0], dict) else {}
    return RunResult(
        status,
        str(content.get("request_id", request_id)),
        output=str(first.get("output", "")),
        job_id=first.get("job_id"),
        content=content,
        log=log,
    )


def _report(
    function: DeployedFunction, answer: RunResult, *, output: str | None, verbose: bool, as_json: bool
) -> None:
    waited = answer.content is not None
    if output is not None and waited and answer.failure is None and answer.job_id is None:
        write_file(output, _ended(answer.output).encode())
    if as_json:
        click.echo(json.dumps(_as_json(function, answer)))
        return
    log = f"scar log -n {function.name} -ri {answer.request_id}"
    if verbose:
        click.echo(f"Request ID: {answer.request_id}", err=True)
        click.echo(f"Log group: {function.log_group}. To see the whole log: {log}", err=True)
        if answer.log:
            click.echo("End of the log:", err=True)
            click.echo(printable_lines(answer.log.rstrip(), None), err=True)
    if answer.failure is not None:
        click.echo(f"scar: {function.name} failed: {printable_lines(answer.failure)}", err=True)
        click.echo(f"To see the whole log: {log}", err=True)
    elif answer.status_code == _WOULD_RUN:
        click.echo(f"{function.name} could run. Nothing ran, because its invocation_type is DryRun.")
    elif not waited:
        click.echo(f"Started {function.name}, request ID {answer.request_id}. To see its log: {log}")
    elif answer.job_id is not None:
        click.echo(f"{function.name} runs as the Batch job {answer.job_id}. To see its log: {log}")
    elif output is None:
        text = _ended(answer.output)
        click.echo(printable_lines(text, None) if sys.stdout.isatty() else text, nl=False)


def _as_json(function: DeployedFunction, answer: RunResult) -> dict[str, Any]:
    told: dict[str, Any] = {"StatusCode": answer.status_code}
    if answer.content is not None:
        told["Payload"] = answer.failure if answer.failure is not None else answer.output
    told["LogGroupName"] = function.log_group
    told["LogStreamName"] = _log_stream(function, answer.request_id) if answer.content is not None else None
    told["RequestId"] = answer.request_id
    if answer.failure is not None:
        told["FunctionError"] = True
    if answer.job_id is not None:
        told["JobId"] = answer.job_id
    if answer.content is not None:
        told["Answer"] = answer.content
    return {"LambdaOutput": told}


def _log_stream(function: DeployedFunction, request_id: str) -> str | None:
    """The stream of a request's log. A log appears a moment after the response, or not at all."""
    logs = client("logs", region=function.region)
    until = time.monotonic() + _LOG_WITHIN_S
    while True:
        try:
            with explained():
                found = logs.filter_log_events(
                    logGroupName=function.log_group, filterPattern=f'"{request_id}"'
                )["events"]
        except UserError:
            return None  # the response matters more
        if found:
            return str(found[0]["logStreamName"])
        if time.monotonic() >= until:
            return None
        time.sleep(0.5)


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
