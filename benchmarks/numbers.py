"""What the numbers of a run cost: memory, CPU time, metrics and trace, and their export.

In one process, as in an assembled image, runs with and without them follow each other. Each pair has a
difference, and the median of these is reported, because the runs themselves take much longer.

- `numbers_overhead_ms`: duration of a warm run of `/bin/sh -c :`, against the 1 ms allowed
- `numbers_overhead_cpu_ms`: the same in CPU time of the runner, which other programs affect less
- `numbers_sampling_cpu_ms`: CPU time of the runner while ten processes run for a second, against 1% of it
- `numbers_export_ms`: duration of a run with the export to a collector on loopback, against its timeout
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.measure import Comparison
from tests.function_configs import function_config

_ALLOWED_MS = 1.0
_ALLOWED_CPU_MS = 10.0
_TIMEOUT_MS = 1000.0
_REPOSITORY = Path(__file__).resolve().parents[1]


def compare() -> Iterator[Comparison]:
    """Compare runs with the numbers, and with their export, to runs without."""
    with tempfile.TemporaryDirectory(prefix="scar-bench-") as name, _collector() as endpoint:
        folder = Path(name)
        (folder / "function_config.json").write_text(json.dumps(function_config("bench", "none")))
        image = {"version": 1, "env": [], "entrypoint": [], "cmd": [], "working_dir": "", "user": ""}
        (folder / "image_config.json").write_text(json.dumps(image))
        # The engine of an assembled image kills everything that its process has started.
        command = [sys.executable, "-m", "benchmarks.numbers_process", str(folder), endpoint]
        done = subprocess.run(command, cwd=_REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    yield Comparison.of("numbers_overhead_ms", found["overhead_ms"], _ALLOWED_MS)
    yield Comparison.of("numbers_overhead_cpu_ms", found["overhead_cpu_ms"], _ALLOWED_MS)
    yield Comparison.of("numbers_sampling_cpu_ms", found["sampling_cpu_ms"], _ALLOWED_CPU_MS)
    yield Comparison.of("numbers_export_ms", found["export_ms"], _TIMEOUT_MS)


class _Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Accept spans."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Do not log."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A process that ends closes its connection."""


@contextmanager
def _collector() -> Iterator[str]:
    """A collector on loopback; yields its address."""
    server = _Server(("127.0.0.1", 0), _Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
