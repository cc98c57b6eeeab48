"""Programs behind custom resources, asked as CloudFormation asks them, against a real server."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from scar_constructs.functions.handler_function import handler_code

Ask = Callable[..., dict[str, Any]]


def load(name: str) -> ModuleType:
    """The program, anew: its clients are those of the environment at this moment."""
    module = ModuleType(f"{name}_handler_index")
    exec(compile(handler_code(name), f"{name}/index.py", "exec"), module.__dict__)
    return module


@contextmanager
def asking(handler: ModuleType) -> Iterator[Ask]:
    """Sends a request as CloudFormation does, and gives the answer that comes to its address."""
    answers: list[dict[str, Any]] = []

    class ResponseUrl(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), ResponseUrl)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def send(kind: str, physical_id: str | None = None, **properties: object) -> dict[str, Any]:
        request = {
            "RequestType": kind,
            "ResponseURL": f"http://127.0.0.1:{server.server_address[1]}/",
            "StackId": "stack",
            "RequestId": "request",
            "LogicalResourceId": "Logical",
            "ResourceProperties": properties,
        }
        if physical_id is not None:
            request["PhysicalResourceId"] = physical_id
        handler.handler(request, None)
        assert len(answers) == 1
        return answers.pop()

    try:
        yield send
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
