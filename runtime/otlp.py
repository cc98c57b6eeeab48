"""Exports a run and its stages as spans to an OpenTelemetry collector, by OTLP over HTTP in JSON.

Imported only if one of `summary.EXPORT_VARIABLES` is set. Other variables of the standard
(https://opentelemetry.io/docs/specs/otel/protocol/exporter/) that are read: `OTEL_EXPORTER_OTLP_HEADERS`,
`OTEL_EXPORTER_OTLP_TIMEOUT` (milliseconds), both also with `_TRACES_`, `OTEL_SERVICE_NAME`,
`OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SDK_DISABLED` and `OTEL_TRACES_EXPORTER=none`.

An execution environment may be frozen after a run, so spans are sent at the end of each run. A collector that
does not answer must not fail a run or delay many: a request has a deadline, and after a failure nothing is
sent for a minute.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote

from containers.errors import ExplainedError
from containers.http_client import HttpClient, Response
from runtime.ending import interrupted_at
from runtime.logs import Log, Stage
from runtime.summary import METRICS
from runtime.trace import Trace

DEFAULT_TIMEOUT_S = 1.0
"""Less than the 10 seconds of the standard, which a function would be billed for."""
SILENT_S = 60.0
_SCOPE = "scar-cdk"
_INTERNAL, _CONSUMER, _SERVER = 1, 5, 2
_ERROR = 2
_OK = range(200, 300)
_SHOWN = ("status", "mode", "kind", "engine", "exit_code", *METRICS)
"""Fields of the summary that are attributes, `scar.NAME`."""


@dataclass(frozen=True, slots=True)
class RunSpans:
    """A run that has ended."""

    trace: Trace
    function: str
    request_id: str
    subject: str
    has_input: bool
    fields: Mapping[str, object]
    """Of the summary line."""
    started: float
    """`time.monotonic` at the start of the run, of the same clock as those of `stages`."""
    stages: Sequence[Stage]


@dataclass
class _Exporter:
    """State that is kept between runs."""

    silent_until: float = 0.0


_here = _Exporter()


def export(run: RunSpans, environ: Mapping[str, str], log: Log, until: float) -> None:
    """Send the spans; return when that is done, has failed, or at `until` (`time.monotonic`). Never raises an
    `Exception`: a failure is a line in the log."""
    now = time.monotonic()
    if (
        environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or environ.get("OTEL_TRACES_EXPORTER") == "none"
    ):
        return
    if now < _here.silent_until:
        return
    try:
        timeout_s = _timeout_s(environ)
        deadline = min(now + timeout_s, until)
        if deadline <= now:
            return
        body = json.dumps(_request(run, environ), separators=(",", ":"), default=str).encode()
        with interrupted_at(deadline):
            _send(_url(environ), _headers(environ), body, timeout_s)
    except Exception as error:  # whatever is wrong with the collector or its address, the run has ended
        _here.silent_until = time.monotonic() + SILENT_S
        log.warning("trace not exported", reason=_reason(error))


class _RefusedError(Exception):
    """The collector answered with an error."""


def _reason(error: Exception) -> str:
    if isinstance(error, _RefusedError):
        return str(error)
    if isinstance(error, ExplainedError | TimeoutError):
        return "the collector did not answer in time"
    # The text of another error may contain a header or the URL, and those a password.
    return f"the request could not be sent ({type(error).__name__})"


def _send(url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> None:
    def redirected(_response: Response, _location: str) -> str:
        raise _RefusedError("the collector answered with a redirect")

    with _client(timeout_s).request(
        "POST", url, {"Content-Type": "application/json"}, body, secrets=headers, redirected=redirected
    ) as response:
        if response.status not in _OK:
            raise _RefusedError(f"the collector answered with status {response.status}")


@cache
def _client(timeout_s: float) -> HttpClient:
    return HttpClient(timeout_s, plain_by_proxy=False)


def _setting(environ: Mapping[str, str], name: str) -> str:
    """A setting for traces, else for all signals."""
    return environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environ.get(f"OTEL_EXPORTER_OTLP_{name}") or ""


def _url(environ: Mapping[str, str]) -> str:
    if of_traces := environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        return of_traces
    return environ["OTEL_EXPORTER_OTLP_ENDPOINT"].rstrip("/") + "/v1/traces"


def _timeout_s(environ: Mapping[str, str]) -> float:
    text = _setting(environ, "TIMEOUT")
    return int(text) / 1000 if text.isdecimal() else DEFAULT_TIMEOUT_S


def _headers(environ: Mapping[str, str]) -> dict[str, str]:
    return _pairs(_setting(environ, "HEADERS"))


def _pairs(text: str) -> dict[str, str]:
    """`a=1,b=2`, percent-encoded."""
    entries = (entry.partition("=") for entry in text.split(",") if "=" in entry)
    return {unquote(name).strip(): unquote(value).strip() for name, _, value in entries}


def _request(run: RunSpans, environ: Mapping[str, str]) -> dict[str, object]:
    """The body of the request: one resource with one scope."""
    resource = {
        "service.name": run.function,
        "cloud.provider": "aws",
        "cloud.region": environ.get("AWS_REGION"),
        "faas.name": run.function,
        **_pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", "")),
    }
    if name := environ.get("OTEL_SERVICE_NAME"):
        resource["service.name"] = name
    scope_spans = {"scope": {"name": _SCOPE}, "spans": list(_spans(run))}
    return {
        "resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope_spans]}]
    }


def _spans(run: RunSpans) -> Sequence[dict[str, object]]:
    ended_ns, ended = time.time_ns(), time.monotonic()

    def at(moment: float) -> str:
        return str(ended_ns - round((ended - moment) * 1e9))

    fields = {
        "faas.invocation_id": run.request_id,
        "faas.coldstart": run.fields.get("cold"),
        "scar.subject": run.subject,
        **{f"scar.{name}": run.fields.get(name) for name in _SHOWN},
    }
    failed = run.fields.get("status") == "failed"
    parent = {} if run.trace.parent is None else {"parentSpanId": run.trace.parent}
    whole = {
        "traceId": run.trace.id,
        "spanId": run.trace.span,
        **parent,
        "name": run.function,
        "kind": _CONSUMER if run.has_input else _SERVER,
        "startTimeUnixNano": at(run.started),
        "endTimeUnixNano": str(ended_ns),
        "attributes": _attributes(fields),
        "status": {"code": _ERROR, "message": str(run.fields.get("error", ""))} if failed else {},
    }
    stages = [
        {
            "traceId": run.trace.id,
            "spanId": os.urandom(8).hex(),
            "parentSpanId": run.trace.span,
            "name": stage.name,
            "kind": _INTERNAL,
            "startTimeUnixNano": at(stage.started),
            "endTimeUnixNano": at(stage.started + stage.duration_ms / 1000),
            "attributes": _attributes({"scar.bytes": stage.bytes}),
            "status": {"code": _ERROR} if stage.failed else {},
        }
        for stage in run.stages
    ]
    return [whole, *stages]


def _attributes(values: Mapping[str, object]) -> list[dict[str, object]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items() if value is not None]


def _value(value: object) -> dict[str, object]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": str(value)}
