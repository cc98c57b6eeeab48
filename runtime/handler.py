"""The entry point of AWS Lambda: `handle(event, context)`.

`lambda` mode: each invocation of the event runs here. `lambda-batch` mode: the same, but one that runs out of
time or memory is submitted to Batch. `batch` mode: each is submitted to Batch, those of a queue together as
an array job. Filters are applied first.

How callers are answered:

- storage events and direct calls: a small JSON object; a failure *raises*, so that Lambda retries the
  event and then keeps it in the failure queue, with the whole reason in the error's message;
- SQS: the ids of the messages that failed (`batchItemFailures`); the others are deleted from the queue;
- HTTP: the container's standard output, or a JSON error; an asynchronous request fails like an event
  (`http_async`).

The records of one event run one after another. A failed record fails the event after all of them have run.
Lambda then retries the whole event, so no record is lost; successful ones run again and write the same
outputs again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from containers.errors import ErrorKind, ExplainedError
from runtime import delegation
from runtime.config import FunctionConfig, load_config
from runtime.errors import InvocationError
from runtime.events import http_async, http_events
from runtime.events.invocation import Invocation
from runtime.events.reading import Work, read_event
from runtime.job import JobResult, JobSetting, preheat, run_job, seconds_for_uploads
from runtime.logs import Log
from runtime.summary import ms_since_process_start

UPLOADED_SHOWN = 1000
"""Maximum number of keys in an answer: the size of Lambda's answers is limited, the number of outputs is
not."""

_TO_REPORT = "The traceback is in the log. Please report it."

PREHEAT = {"preheat": True}
"""The event that a deployment sends to a function with `preheat: true`."""


@dataclass
class _ExecutionEnvironment:
    """State that is kept between invocations in the same process."""

    cold: bool = True
    init_ms: float | None = field(default_factory=ms_since_process_start)
    """Milliseconds from the start of the process until this module was loaded."""


_here = _ExecutionEnvironment()


def handle(event: object, context: Any) -> dict[str, Any]:
    """Called by Lambda with the event, decoded, and its context object."""
    started = time.monotonic()
    cold, _here.cold = _here.cold, False
    request_id = str(getattr(context, "aws_request_id", "") or "unknown")
    log = Log(fields={"request_id": request_id})
    is_answered = http_async.is_answered(event)
    gateway_waits, own_time = None, 0.0
    try:
        gateway_waits = http_async.seconds_left(event)
        config = load_config(os.environ)
        log = Log(config.log_level, {"request_id": request_id, "function": config.name})
        work = read_event(event, config)
        for skipped in work.skipped:
            log.info("skipped", subject=skipped.subject, reason=skipped.reason)
        if http_async.is_to_be_handed_on(event) and config.execution_mode != "batch":
            return _hand_on(event, config, log)
        own_time = _seconds_for_container(config, context)
        setting = JobSetting(
            config=config,
            environ=os.environ,
            request_id=request_id,
            deadline=started + (own_time if gateway_waits is None else min(own_time, gateway_waits)),
            uploads_until=started + own_time + seconds_for_uploads(config.timeout_threshold_s),
            log=log,
            cold=cold,
            init_ms=_here.init_ms,
            delegate=(lambda invocation: _submit([invocation], setting))
            if config.execution_mode == "lambda-batch"
            else None,
        )
        if event == PREHEAT:
            return {"status": "ok", "request_id": request_id, **preheat(setting)}
        return _answer(work, *_run_all(work, setting), setting)
    except ExplainedError as error:
        if not isinstance(error, InvocationError):
            log.failure(error)
        if is_answered:
            reason = _first_reason(error)
            if reason.kind == ErrorKind.TIMED_OUT and gateway_waits is not None:
                reason = http_async.too_slow() if gateway_waits < own_time else reason
            return http_events.answer_error(reason, request_id)
        if isinstance(error, InvocationError):
            raise
        raise InvocationError([("event", error)], request_id=request_id) from None
    except Exception as error:
        log.failure(error)
        if is_answered:
            return http_events.answer_error(
                ExplainedError("The function failed", kind=ErrorKind.INTERNAL_ERROR), request_id
            )
        raise


def _hand_on(event: Any, config: FunctionConfig, log: Log) -> dict[str, Any]:
    request_id = http_async.hand_on(event, os.environ.get("AWS_LAMBDA_FUNCTION_NAME") or config.name)
    log.info("handed on", subject="HTTP request", handed_to=request_id)
    return http_events.answer_handed_on(request_id)


def _seconds_for_container(config: FunctionConfig, context: Any) -> float:
    left: float = context.get_remaining_time_in_millis() / 1000
    return min(config.timeout_s, left) - config.timeout_threshold_s


def _run_all(
    work: Work, setting: JobSetting
) -> tuple[list[JobResult], list[tuple[Invocation, ExplainedError]]]:
    results, failures = [], []
    groups: Iterable[Sequence[Invocation]] = ([invocation] for invocation in work.invocations)
    if work.kind == "queue" and setting.config.execution_mode == "batch":
        groups = delegation.together(work.invocations, setting.config)
    for number, group in enumerate(groups):
        try:
            results.append(_run(group, replace(setting, cold=setting.cold and number == 0)))
        except Exception as error:  # the other records must still run
            setting.log.failure(error, subject=delegation.subject(group))
            if not isinstance(error, ExplainedError):
                unforeseen = f"The runner failed with an internal error: {type(error).__name__}"
                error = ExplainedError(unforeseen, advice=_TO_REPORT, kind=ErrorKind.INTERNAL_ERROR)
            failures += [(invocation, error) for invocation in group]
    return results, failures


def _run(group: Sequence[Invocation], setting: JobSetting) -> JobResult:
    if setting.config.execution_mode == "batch":
        job_id = _submit(group, setting)
        return JobResult(delegation.subject(group), status="delegated", job_id=job_id)
    return run_job(group[0], setting)


def _submit(group: Sequence[Invocation], setting: JobSetting) -> str:
    job_id = delegation.submit(group, setting.config, os.environ, setting.request_id)
    setting.log.info("submitted", subject=delegation.subject(group), job_id=job_id)
    return job_id


def _answer(
    work: Work,
    results: list[JobResult],
    failures: list[tuple[Invocation, ExplainedError]],
    setting: JobSetting,
) -> dict[str, Any]:
    for item, error in work.unreadable:
        setting.log.failure(error, item=item)
    if work.kind == "queue":
        failed = [item for item, _ in work.unreadable] + [
            one.item for one, _ in failures if one.item is not None
        ]
        return {"batchItemFailures": [{"itemIdentifier": item} for item in dict.fromkeys(failed)]}
    if failures or work.unreadable:
        reasons = [*work.unreadable, *((invocation.subject, error) for invocation, error in failures)]
        raise InvocationError(reasons, request_id=setting.request_id)
    if work.kind == "http":
        result = results[0]
        if result.job_id is not None:
            return http_events.answer_accepted(result.job_id, setting.request_id)
        return http_events.answer_output(result.stdout)
    return {
        "status": "ok",
        "request_id": setting.request_id,
        "results": [_told(result, work) for result in results],
        "skipped": [{"subject": one.subject, "reason": one.reason} for one in work.skipped],
    }


def _told(result: JobResult, work: Work) -> dict[str, Any]:
    told: dict[str, Any] = {"subject": result.subject, "status": result.status}
    if result.job_id is not None:
        told["job_id"] = result.job_id
    if result.status == "done":
        told |= {
            "exit_code": result.exit_code,
            "files": len(result.uploaded),
            "uploaded": result.uploaded[:UPLOADED_SHOWN],
        }
    if work.kind == "direct":
        told["output"] = result.output
    return told


def _first_reason(error: ExplainedError) -> ExplainedError:
    return error.failures[0][1] if isinstance(error, InvocationError) else error
