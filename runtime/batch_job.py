"""The entry point of AWS Batch jobs: `python3 -m runtime.batch_job`, with the event in the job's environment
(`delegation`).

Runs the same `job` as Lambda does, with the timeout of a Batch job. Exit codes, from which the job definition
decides about retries (`evaluateOnExit`):

    0    the run succeeded, or there was nothing to run
    1    it failed: Batch retries the job
    2    the job is misconfigured: a retry cannot help
    124  it timed out: only a longer timeout can help (`batch.retry`)
    137  it ran out of memory: only more memory can help (`batch.retry`)

A job of the next size (`SCAR_SIZE`) logs why it was submitted, and uses the timeout of that size
(`SCAR_TIMEOUT`). On several nodes, the script runs on each of them with the input, and only the main node
uploads its outputs.

AWS sends SIGTERM before SIGKILL if a job is terminated, times out, or loses its Spot instance, and to the
other nodes when the main node has ended. The container is then killed, its folder removed, and nothing is
uploaded. The run fails, except on these other nodes.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import uuid4

from containers.errors import ErrorKind, ExplainedError
from runtime.config import FunctionConfig, load_config
from runtime.delegation import event_of_job
from runtime.errors import ContainerError
from runtime.events.reading import read_event
from runtime.job import JobSetting, run_job, seconds_for_uploads
from runtime.logs import Log
from runtime.summary import ms_since_process_start

DONE, FAILED, MISCONFIGURED, TIMED_OUT, OUT_OF_MEMORY = 0, 1, 2, 124, 137


class Terminated(BaseException):
    """The process received SIGTERM. Not an `Exception`, so that no code on the way retries it as an error."""


def main(environ: Mapping[str, str] | None = None) -> int:
    """Run the job that the environment describes; return the exit code."""
    started = time.monotonic()
    environ = os.environ if environ is None else environ
    request_id = environ.get("AWS_BATCH_JOB_ID") or str(uuid4())
    log = Log(fields={"request_id": request_id})
    signal.signal(signal.SIGTERM, _terminate)
    try:
        config = load_config(environ)
        log = Log(config.log_level, {"request_id": request_id, "function": config.name, **_attempt(environ)})
        return _run(config, environ, request_id, started, log)
    except ExplainedError as error:
        log.failure(error)
        return _exit_code([error])
    except Terminated as error:
        if not _is_main_node(environ):
            log.info("stopped", reason="the main node has ended")
            return DONE
        log.failure(error)
        return FAILED
    except Exception as error:
        log.failure(error)
        return FAILED


def _run(
    config: FunctionConfig, environ: Mapping[str, str], request_id: str, started: float, log: Log
) -> int:
    if config.batch is None:
        raise ExplainedError(
            f"Function {config.name} has no settings for Batch",
            advice="Deploy it in batch or lambda-batch mode.",
            kind=ErrorKind.MISCONFIGURED,
        )
    work = read_event(event_of_job(environ), config)
    for skipped in work.skipped:
        log.info("skipped", subject=skipped.subject, reason=skipped.reason)
    if size := environ.get("SCAR_SIZE"):
        previous = {
            "previous_job": environ.get("SCAR_PREVIOUS_JOB"),
            "reason": environ.get("SCAR_PREVIOUS_END"),
        }
        log.info("next size", size=size, **previous)
    timeout_s = int(environ.get("SCAR_TIMEOUT") or config.batch.timeout_s)
    deadline = started + timeout_s - config.timeout_threshold_s
    setting = JobSetting(
        config=config,
        environ=environ,
        request_id=request_id,
        deadline=deadline,
        uploads_until=deadline + seconds_for_uploads(config.timeout_threshold_s),
        log=log,
        cold=True,
        init_ms=ms_since_process_start(),
        uploads=_is_main_node(environ),
    )
    failures = [error for _, error in work.unreadable]
    for invocation in work.invocations:
        try:
            # The sender of an HTTP request has already been answered: standard output goes to the log.
            run_job(replace(invocation, awaited=False), setting)
        except ExplainedError as error:
            failures.append(error)
    for failure in failures:
        more = {"exit_code": failure.exit_code} if isinstance(failure, ContainerError) else {}
        log.failure(failure, **more)
    return _exit_code(failures)


def _exit_code(failures: Sequence[ExplainedError]) -> int:
    kinds = {failure.kind for failure in failures}
    if not all(kind.retryable for kind in kinds):
        return MISCONFIGURED
    if ErrorKind.OUT_OF_MEMORY in kinds:
        return OUT_OF_MEMORY
    if ErrorKind.TIMED_OUT in kinds:
        return TIMED_OUT
    return FAILED if failures else DONE


def _is_main_node(environ: Mapping[str, str]) -> bool:
    """True also for a job on a single node."""
    return environ.get("AWS_BATCH_JOB_NODE_INDEX") == environ.get("AWS_BATCH_JOB_MAIN_NODE_INDEX")


def _attempt(environ: Mapping[str, str]) -> dict[str, int]:
    attempt = environ.get("AWS_BATCH_JOB_ATTEMPT", "")
    return {"attempt": int(attempt)} if attempt.isdecimal() else {}


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second signal must not interrupt the cleanup
    raise Terminated("The job was terminated (SIGTERM), and the container was killed")


if __name__ == "__main__":
    sys.exit(main())
