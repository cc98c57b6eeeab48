"""Environments of image functions: which of them are ended when they are idle, and how an end is told."""

from __future__ import annotations

import os
import subprocess
import sys

_PROGRAM = """
import os, time
os.environ["GATEWAY_PORT"] = "4566"
from ministack.core import lambda_runtime
from local_cloud.lambda_functions.image_functions import reap_idle
from local_cloud.lambda_functions.image_workers import ImageWorker, _ending

def worker(kind, idle_s, in_use=False):
    made = kind("f", {"FunctionName": "f"}, b"")
    made.last_used, made.in_use = time.time() - idle_s, in_use
    return made

image = [worker(ImageWorker, 900), worker(ImageWorker, 10), worker(ImageWorker, 900, in_use=True)]
zipped = [worker(lambda_runtime.Worker, 900), worker(lambda_runtime.Worker, 900)]
lambda_runtime._workers.update({"image": list(image), "zip": list(zipped)})
assert reap_idle() == 2
assert lambda_runtime._workers == {"image": image[1:], "zip": zipped[:1]}, lambda_runtime._workers
assert [_ending(code) for code in (0, 3, 137, 143)] == [
    "exit status 0", "exit status 3", "signal: killed", "signal: terminated"
]
"""


def test_idle_environments_of_image_functions_are_all_ended() -> None:
    """In a process of its own, as ministack takes its seconds. Of other functions the first one stays."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
