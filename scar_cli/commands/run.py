"""`scar run`: run a function now, with a script or arguments of the caller's; or on the files that are there.

A function that reads from S3, chosen by its FDL file and without script or arguments, runs once for each file
in its input folder: that is `scar-launch`.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from scar_cli.aws.deployed import DeployedFunction, one_selected, selects_functions, workflow_of
from scar_cli.aws.session import client, error_code, explained
from scar_cli.errors import UserError
from scar_cli.examples import examples
from scar_cli.files import read_file, require_writable, write_file
from scar_cli.table import printable_lines

if TYPE_CHECKING:
    from fdl_schemas.model import Function

_ANSWER_WITHIN_S = 930
"""A function runs for 900 seconds at most."""
_PAYLOAD_LIMIT = {"RequestResponse": 6 * 1024**2, "Event": 1024**2, "DryRun": 6 * 1024**2}
"""https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
_LOG_WITHIN_S = 5.0
_WOULD_RUN = 204
"""AWS Lambda's answer to a dry run."""


@dataclass(frozen=True)
class RunResult:
    """What became of one call."""

    status_code: int
    request_id: str
    output: str = ""
    """What the container wrote, its end."""
    job_id: str | None = None
    failure: str | None = None
    content: object = None
    """The function's whole answer."""
    log: str = ""
    """The end of the run's log, if it was asked for."""


@click.command(
    "run",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=examples(
        "scar run -n scar-cowsay",
        "scar run -n my-function ls -l /",
        "scar run -n my-function -s script.sh -o output.txt",
        "scar run -f workflow.yaml",
    ),
)
@selects_functions
@click.option(
    "-s",
    "--script",
    "--run-script",
    "script",
    metavar="FILE",
    help="Run this script instead of the function's own.",
)
@click.option("-a", "--asynchronous", is_flag=True, help="Do not wait for its end.")
@click.option(
    "-o",
    "--output",
    "--output-file",
    "output",
    metavar="FILE",
    help="Write what the container says into this file.",
)
@click.option(
    "-ib",
    "--input-bucket",
    "bucket_path",
    metavar="BUCKET/FOLDER",
    help="With -f: one run for each file in this folder of the function's input.",
)
@click.option("-v", "--verbose", is_flag=True, help="Tell the request id, where the log is, and its end.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Answer in JSON.")
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
    """Run a function; what follows the options is the command for its container.

    With -f, and neither script nor command: one run for each file in the function's input folder, as
    `scar-launch` does it.
    """
    if script is not None and arguments:
        raise UserError("A script and a command cannot both run", "Leave out one of them")
    if output is not None:
        require_writable(output)
    if bucket_path is not None:
        if fdl is None or script is not None or arguments:
            raise UserError(
                "-ib runs a function on the files of its input, which its FDL file tells",
                "Say scar run -f FILE -ib BUCKET/FOLDER, or scar-launch",
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
    shows_log = verbose and (defined is None or defined.run.log_type == "Tail")
    answer = call(function, payload, kind=kind, shows_log=shows_log)
    _report(function, answer, output=output, verbose=verbose, as_json=as_json)
    return 1 if answer.failure is not None else 0


def call(
    function: DeployedFunction, payload: object, *, kind: str = "RequestResponse", shows_log: bool = False
) -> RunResult:
    """Invoke a function with a payload.

    Args:
        function: which one.
        payload: the event.
        kind: `RequestResponse`, `Event` (its end is not waited for) or `DryRun` (it does not run).
        shows_log: ask for the end of the log, where the run's end is waited for.

    Raises:
        UserError: it was not accepted.
    """
    body = json.dumps(payload).encode()
    if len(body) > _PAYLOAD_LIMIT[kind]:
        limit = _PAYLOAD_LIMIT[kind] // 1024**2
        raise UserError(
            f"Script and payload have {len(body)} bytes, and Lambda takes {limit} MiB",
            "Upload large data to a bucket",
        )
    # Without retries: a call that is repeated after a time-out would run twice.
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
                f"The function {function.name} of the stack {function.stack} is gone",
                "Deploy the workflow again: scar init -f FILE",
            ) from error
        raise
    return _read(answer, content)


def _kind_of(definition: Function) -> str:
    kind = definition.run.invocation_type
    return "Event" if definition.run.asynchronous and kind == "RequestResponse" else kind


def _definition(fdl: str | None, name: str | None) -> Function | None:
    """The function of the FDL file, if it is one to call directly: without an input, or with a payload."""
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
            "Leave out --stack. For a stage, add --stage",
        )
    if output is not None:
        raise UserError(
            "-o takes what one run says, and here each file has a run of its own",
            "Leave it out, and fetch the outputs: scar get",
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
        raise UserError(f"The script {path} is empty", "Name another file")
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
        click.echo(f"Request id {answer.request_id} in {function.log_group}. Its log: {log}", err=True)
        if answer.log:
            click.echo(printable_lines(answer.log.rstrip(), None), err=True)
    if answer.failure is not None:
        click.echo(f"scar: {function.name} failed: {printable_lines(answer.failure)}", err=True)
        click.echo(f"The whole log: {log}", err=True)
    elif answer.status_code == _WOULD_RUN:
        click.echo(f"{function.name} could run, and did not: its invocation_type is DryRun")
    elif not waited:
        click.echo(f"Started {function.name}, request id {answer.request_id}. Its log: {log}")
    elif answer.job_id is not None:
        click.echo(f"{function.name} runs as the Batch job {answer.job_id}. Its log: {log}")
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
    """The stream of a request's log; a log comes a moment later than the answer, or not at all."""
    logs = client("logs", region=function.region)
    until = time.monotonic() + _LOG_WITHIN_S
    while True:
        try:
            with explained():
                found = logs.filter_log_events(
                    logGroupName=function.log_group, filterPattern=f'"{request_id}"'
                )["events"]
        except UserError:
            return None  # the answer is there, and matters more
        if found:
            return str(found[0]["logStreamName"])
        if time.monotonic() >= until:
            return None
        time.sleep(0.5)


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
