"""The rules about environment variables: reserved names, and size limits of AWS Lambda and Batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from fdl_schemas.build import FunctionEntry
from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.model import BatchJob, Function
from fdl_schemas.names import (
    container_variable_problem,
    function_variable_problem,
    job_variable_problem,
)
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.findings import Findings

MAX_ENVIRONMENT_BYTES: Final = 4096
MAX_JOB_ENVIRONMENT_BYTES: Final = 12 * 1024
"""The rest of the 24 KiB is for the command that downloads the runner, and for other settings."""

_ELSEWHERE: Final = "move variables for the script to `container.environment`, or to a file in a bucket"


def check_environment(entry: FunctionEntry, findings: Findings) -> None:
    """Checks the environments of one entry of `functions.aws`: of function, container and job."""
    variables = entry.at("lambda", "environment", "Variables")
    _check_variables(entry.function.environment, variables, function_variable_problem, findings)
    # Lambda measures the map as JSON: "Environment variables size limit ... String measured: {...}".
    size = _bytes_as_json(dict(entry.function.environment))
    ours = _bytes_of_our_variables(entry.function)
    if size > MAX_ENVIRONMENT_BYTES - ours:
        kept = f"; the deployment needs {ours} more" if ours else ""
        findings.error(
            "FDL031",
            f"the function's environment is {size:,} bytes long",
            variables,
            expected=f"at most {MAX_ENVIRONMENT_BYTES - ours:,} bytes for all variables together{kept}",
            help=_ELSEWHERE,
            on_key=True,
        )
    _check_variables(
        entry.function.container.environment,
        entry.at("lambda", "container", "environment", "Variables"),
        container_variable_problem,
        findings,
    )
    if entry.function.batch is not None:
        _check_variables(
            entry.function.batch.environment,
            entry.at("batch", "environment", "Variables"),
            job_variable_problem,
            findings,
        )
        _check_size_of_job(entry, entry.function.batch, findings)


def _check_size_of_job(entry: FunctionEntry, job: BatchJob, findings: Findings) -> None:
    """Source: AWS Batch user guide, "Service quotas": 24 KiB for a RegisterJobDefinition request."""
    variables = {**entry.function.environment, **job.environment}
    size = _bytes_as_json([{"name": name, "value": value} for name, value in variables.items()])
    if size > MAX_JOB_ENVIRONMENT_BYTES:
        findings.error(
            "FDL031",
            f"the environment of the job is {size:,} bytes long, including that of the function",
            entry.at("batch", "environment", "Variables"),
            expected=f"at most {MAX_JOB_ENVIRONMENT_BYTES:,} bytes; a job definition has at most 24 KiB",
            help=_ELSEWHERE,
            on_key=True,
        )


def _bytes_as_json(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))


def _bytes_of_our_variables(function: Function) -> int:
    """Bytes of the variables that the deployment sets: names and ARNs, which have limits of their own."""
    jobs = 450 if function.batch is not None else 0  # SCAR_JOB_QUEUE, SCAR_JOB_DEFINITION
    image = 280 if function.container.image_file is not None else 0  # SCAR_IMAGE_FILE
    elsewhere = any(entry.provider != "s3" for entry in function.outputs)
    return jobs + image + (220 if elsewhere else 0)  # SCAR_STORAGE_SECRET


def _check_variables(
    variables: Mapping[str, str],
    path: PathInFile,
    problem_of: Callable[[str], str | None],
    findings: Findings,
) -> None:
    for name, value in variables.items():
        problem = problem_of(name)
        if problem is None and "\0" in value:
            problem = "its value contains a NUL character"
        if problem:
            findings.error(
                "FDL032",
                f"invalid environment variable {quoted(name)}: {problem}",
                (*path, name),
                expected="a different name" if "\0" not in value else "text without NUL characters",
                help="rename or remove the variable",
                on_key=True,
            )
