"""What the proxy does to requests, each fault, in front of a server that counts what it has carried out."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.faults.injected.limits import Limits
from tests.faults.injected.proxy import SPARED, Fault, Proxy, http_response

BODY = b"x" * 300_000


@dataclass
class Server:
    """Behind the proxy."""

    puts: list[bytes] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)


@pytest.fixture
def proxied() -> Iterator[tuple[Server, Proxy]]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if len(body) == int(self.headers["Content-Length"]):
                server.puts.append(body)
                self._answer(b"")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            server.calls.append(self.path)
            self._answer(b'{"jobId": "1", "jobName": "n"}')

        def do_GET(self) -> None:
            self._answer(BODY)

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class QuietServer(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A connection that is cut is nothing to report."""

    http = QuietServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    try:
        with Proxy(("127.0.0.1", port), ("127.0.0.1", http.server_address[1]), seed=1).serving() as proxy:
            yield server, proxy
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def client(proxy: Proxy, service: str, attempts: int = 1, agent: str = "") -> Any:
    retries: Any = {"total_max_attempts": attempts, "mode": "standard"}
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{proxy.here[1]}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries=retries, proxies={}, user_agent_extra=agent, s3={"addressing_style": "path"}),
    )


def put(proxy: Proxy, attempts: int = 1, agent: str = "") -> Any:
    return client(proxy, "s3", attempts, agent).put_object(Bucket="b", Key="k", Body=BODY)


def test_without_a_fault_everything_passes_unchanged(proxied: tuple[Server, Proxy]) -> None:
    server, proxy = proxied
    s3 = client(proxy, "s3")
    s3.put_object(Bucket="b", Key="k", Body=BODY)
    assert s3.get_object(Bucket="b", Key="k")["Body"].read() == BODY
    assert (len(server.puts), proxy.requests) == (1, 2)
    assert proxy.actions == {"s3 PUT": 1, "s3 GET": 1}


@pytest.mark.parametrize(
    ("fault", "carried_out"), [(Fault.REFUSED, 0), (Fault.HALF_SENT, 0), (Fault.UNANSWERED, 1)]
)
def test_a_cut_is_an_error_whether_or_not_the_request_was_carried_out(
    proxied: tuple[Server, Proxy], fault: Fault, carried_out: int
) -> None:
    server, proxy = proxied
    proxy.inject(fault)
    with pytest.raises(BotoCoreError):
        put(proxy)
    assert len(server.puts) == carried_out
    proxy.inject(fault)
    put(proxy, attempts=2)
    assert len(server.puts) == 2 * carried_out + 1
    assert proxy.injected == {fault: 2}


def test_an_answer_that_is_cut_in_the_middle_is_not_read_as_a_whole_one(
    proxied: tuple[Server, Proxy],
) -> None:
    _, proxy = proxied
    proxy.inject(Fault.HALF_ANSWERED)
    with pytest.raises(BotoCoreError):
        client(proxy, "s3").get_object(Bucket="b", Key="k")["Body"].read()


@pytest.mark.parametrize(("fault", "code"), [(Fault.THROTTLED, "SlowDown"), (Fault.ERROR, "InternalError")])
def test_a_rejected_request_was_not_carried_out(
    proxied: tuple[Server, Proxy], fault: Fault, code: str
) -> None:
    server, proxy = proxied
    proxy.inject(fault)
    with pytest.raises(ClientError, match=code):
        put(proxy)
    put(proxy)
    assert len(server.puts) == 1


def test_spared_requests_meet_no_fault_and_are_not_counted(proxied: tuple[Server, Proxy]) -> None:
    _, proxy = proxied
    proxy.inject(Fault.REFUSED)
    put(proxy, agent=SPARED)
    assert (proxy.pending, proxy.requests) == (1, 0)


def test_submit_job_is_limited_to_fifty_calls_a_second(proxied: tuple[Server, Proxy]) -> None:
    server, proxy = proxied
    proxy.limits = Limits(slower=10)
    batch = client(proxy, "batch")
    codes = []
    for _ in range(8):
        try:
            batch.submit_job(jobName="n", jobQueue="q", jobDefinition="d")
        except ClientError as error:
            codes.append(error.response["Error"]["Code"])
    assert len(server.calls) + len(codes) == 8
    assert len(server.calls) in (5, 6)
    assert set(codes) == {"TooManyRequestsException"}


def test_an_action_may_be_answered_by_the_proxy(proxied: tuple[Server, Proxy]) -> None:
    server, proxy = proxied
    proxy.answers["batch submitjob"] = lambda *_: http_response(
        200, b'{"jobId": "mine", "jobName": "n"}', "application/json"
    )
    assert client(proxy, "batch").submit_job(jobName="n", jobQueue="q", jobDefinition="d")["jobId"] == "mine"
    assert not server.calls
