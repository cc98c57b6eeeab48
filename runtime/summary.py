"""The summary line of a run, from which reports, metrics and costs are made: fields that more than one stage
determines. `docs/metrics.md` describes all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from runtime.storage.contract import StoredObject, Upload

OUTPUTS_SHOWN = 20
OUTPUTS_BYTES = 4000
"""Maximum number and size of the URIs in `outputs`: a line is limited, the number of outputs is not."""

NAMESPACE = "scar-cdk"
MILLISECONDS, BYTES, COUNT = "Milliseconds", "Bytes", "Count"
METRICS = {
    "total_ms": MILLISECONDS,
    "queued_ms": MILLISECONDS,
    "init_ms": MILLISECONDS,
    "stage_in_ms": MILLISECONDS,
    "image_ms": MILLISECONDS,
    "run_ms": MILLISECONDS,
    "stage_out_ms": MILLISECONDS,
    "cpu_ms": MILLISECONDS,
    "input_bytes": BYTES,
    "output_bytes": BYTES,
    "memory_bytes": BYTES,
    "attempt": COUNT,
}
"""The fields that are metrics, and their units. Each of them costs money for each function, and once more for
each value of another dimension: therefore only `total_ms`, which also counts the runs, has the dimension
`status`."""
METRICS_VARIABLE = "SCAR_METRICS"
"""Variable of the function and its jobs: `false` leaves out the metrics."""

EXPORT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""With one of them, runs are exported as spans (`runtime.otlp`)."""

_MIB = 1 << 20


def ms_between(start: float, end: float) -> float:
    """Milliseconds between two moments in seconds; not negative."""
    return max(0.0, round((end - start) * 1000, 1))


def ms_since_process_start() -> float | None:
    """Age of this process; None: unknown. The kernel counts in hundredths of a second."""
    try:
        started = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19]
        ticks = os.sysconf("SC_CLK_TCK")
        return ms_between(int(started) / ticks, time.clock_gettime(time.CLOCK_BOOTTIME))
    except (OSError, ValueError, IndexError):
        return None


def queued_ms(event_time: str) -> float | None:
    """Milliseconds since the time of an event, in ISO 8601. None: it is not known which time that is."""
    try:
        moment = datetime.fromisoformat(event_time)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return ms_between(moment.timestamp(), time.time())


def where(environ: Mapping[str, str]) -> dict[str, object]:
    """`mode` and, if known, `memory_limit_bytes`."""
    mib = environ.get("SCAR_MEMORY_MIB") or environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE") or ""
    told: dict[str, object] = {"mode": "batch" if "AWS_BATCH_JOB_ID" in environ else "lambda"}
    if mib.isdecimal():
        told["memory_limit_bytes"] = int(mib) * _MIB
    return told


def shown_outputs(uploads: Iterable[tuple[str, Upload]]) -> list[str]:
    """The first URIs, written like the `subject` of a run that reads one of them."""
    shown: list[str] = []
    left = OUTPUTS_BYTES
    for provider, upload in uploads:
        uri = str(StoredObject(upload.bucket, upload.key, provider=provider))
        left -= len(uri.encode())
        if left < 0 or len(shown) == OUTPUTS_SHOWN:
            break
        shown.append(uri)
    return shown


def embedded_metrics(told: Mapping[str, object]) -> dict[str, object]:
    """The member `_aws` of a summary line with these fields, in CloudWatch's embedded metric format.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    defined = [{"Name": name, "Unit": unit} for name, unit in METRICS.items() if told.get(name) is not None]
    total = {"Name": "total_ms", "Unit": MILLISECONDS}
    return {
        "Timestamp": int(time.time() * 1000),
        "CloudWatchMetrics": [
            {"Namespace": NAMESPACE, "Dimensions": [["function"]], "Metrics": defined},
            {"Namespace": NAMESPACE, "Dimensions": [["function", "status"]], "Metrics": [total]},
        ],
    }
