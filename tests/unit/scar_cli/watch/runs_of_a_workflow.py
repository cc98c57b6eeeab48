"""A workflow of four functions, and runs of it."""

from __future__ import annotations

from typing import Any

from scar_cli.aws.deployed import DeployedFunction
from scar_cli.runs.model import Run

NOW_MS = 1_770_000_000_000


def function(name: str, inputs: str, outputs: str, mode: str = "lambda", **more: Any) -> DeployedFunction:
    return DeployedFunction(
        name,
        "video",
        "us-east-1",
        mode,
        f"/aws/lambda/{name}",
        f"http://queue/{name}",
        inputs=tuple(inputs.split()),
        outputs=tuple(outputs.split()),
        **more,
    )


SPLIT = function(
    "split",
    "video/in",
    "video/frames",
    "batch",
    job_queue="jobs",
    job_definition="arn:aws:batch:us-east-1:1:job-definition/split:3",
    batch_log_group="/aws/batch/split",
)
DETECT = function("detect", "video/frames", "video/objects video/thumbs")
MERGE = function("merge", "video/objects", "video/merged", input_queue_url="http://queue/merge-inputs")
INDEX = function("index", "video/thumbs/small", "video/index")
WORKFLOW = (SPLIT, DETECT, MERGE, INDEX)


def run(name: str, status: str = "done", seconds_ago: float = 1.0, subject: str = "", **more: Any) -> Run:
    ended = NOW_MS - seconds_ago * 1000
    return Run(name, "us-east-1", "lambda", status, ended - 500, ended, "request", "stream", subject, **more)


def failed(name: str, subject: str, error: str, seconds_ago: float = 1.0, output: str = "") -> Run:
    more = {"kind": "ContainerFailed", "error": error, "last_lines": output}
    return run(name, "failed", seconds_ago, subject, **more)
