"""Environments of image functions: which of them are ended when they are idle, how an end is told, and how
they get events."""

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

_EVENT = """
import os, queue, socket, threading
os.environ["GATEWAY_PORT"] = "4566"
from local_cloud.lambda_functions.image_workers import ImageWorker, _guarded, _QuietServer

worker = ImageWorker("f", {"FunctionName": "f"}, b"")
worker._stopping = False
pending = queue.Queue()
pending.put(("request", {"key": "value"}, 0, "", "arn"))
server = _QuietServer(("127.0.0.1", 0), _guarded(worker._build_handler_class(worker._generation, pending)))
threading.Thread(target=server.serve_forever, daemon=True).start()
with socket.create_connection(server.server_address) as connection:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    connection.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    answer = connection.recv(65536)
assert answer.endswith(b'{"key": "value"}'), answer
"""


def test_idle_environments_of_image_functions_are_all_ended() -> None:
    """In a process of its own, as ministack takes its seconds. Of other functions the first one stays."""
    _run(_PROGRAM)


def test_an_event_arrives_in_one_segment() -> None:
    _run(_EVENT)


def _run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
