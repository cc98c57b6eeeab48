"""Whatever Lambda's endpoint does, each file's event is accepted in the end, or the launch says why not."""

from __future__ import annotations

import shlex
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

import boto3
import pytest
from botocore.credentials import Credentials

from fdl_schemas.model import StorageEntry
from scar_cli.aws.invoking import LambdaConnection, LambdaEndpoint
from scar_cli.aws.signing import Signer
from scar_cli.errors import UserError
from scar_cli.launch.fan_out import Event, FanOut, Target
from scar_cli.launch.files import InputFile, Listing, Selection, event_bytes, sources_of
from scar_cli.launch.journal import Journal, read
from scar_cli.launch.pace import Patience
from scar_cli.launch.send import run_first
from tests.loopback_aws import LoopbackAws, running

pytestmark = pytest.mark.cloud

QUICK = Patience(answer_s=0.15, first_pause_s=0.005, longest_pause_s=0.05, give_up_s=5.0, calm_s=0.02)


@pytest.fixture
def aws() -> Iterator[LoopbackAws]:
    with running(LoopbackAws()) as served:
        yield served


def target(aws: LoopbackAws) -> Target:
    return Target("fan", "us-east-1", endpoint(aws.url))


def launch(
    aws: LoopbackAws,
    tmp_path: Path,
    *,
    concurrency: int = 8,
    rate: float | None = None,
    patience: Patience = QUICK,
) -> FanOut:
    s3 = boto3.client(
        "s3",
        endpoint_url=aws.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    entries = (StorageEntry("bucket", "in"),)
    files = chain.from_iterable(Listing(s3, Selection(sources_of(entries), entries)).pages())
    journal = Journal.create(tmp_path / "journal", {})
    fan_out = FanOut(
        target(aws), map(Event, files), journal, concurrency=concurrency, rate=rate, patience=patience
    )
    try:
        fan_out.run()
    finally:
        journal.close()
    return fan_out


def test_every_file_arrives_though_a_third_of_the_calls_is_refused_cut_or_not_answered(
    aws: LoopbackAws, tmp_path: Path
) -> None:
    aws.count = 400
    troubles = ["429", "500", "close", "503", "stall", "429", "cut", "502"]
    aws.trouble = lambda call: troubles[call // 3 % len(troubles)] if call % 3 == 0 else None
    fan_out = launch(aws, tmp_path)
    assert fan_out.sent == aws.count
    times = Counter(aws.received)
    assert len(times) == aws.count
    cut = sum(1 for call in range(3, aws.calls + 1, 3) if troubles[call // 3 % len(troubles)] == "cut")
    assert sum(times.values()) <= aws.count + cut, "only what was accepted without an answer is sent twice"
    record = read(tmp_path / "journal")
    assert (record.accepted, record.pending) == (aws.count, {})


def test_the_journal_names_the_events_that_a_lost_answer_doubles(aws: LoopbackAws, tmp_path: Path) -> None:
    aws.count = 200
    aws.trouble = lambda call: "cut" if call % 7 == 0 else None
    launch(aws, tmp_path)
    doubled = {key for key, times in Counter(aws.received).items() if times > 1}
    assert len(doubled) > 20
    record = read(tmp_path / "journal")
    assert set(record.perhaps_twice.values()) == doubled
    assert all(aws.key(number) == key for number, key in record.perhaps_twice.items())


def test_the_journal_names_no_event_that_was_certainly_not_accepted(aws: LoopbackAws, tmp_path: Path) -> None:
    aws.count = 60
    aws.trouble = lambda call: "429" if call % 3 == 0 else None
    launch(aws, tmp_path)
    assert read(tmp_path / "journal").perhaps_twice == {}
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    connection = LambdaConnection(endpoint(f"http://127.0.0.1:{port}"), 1)
    with pytest.raises(ConnectionRefusedError):
        connection.send_event("fan", event_bytes(FILE, "us-east-1"))
    assert not connection.may_have_arrived


def test_a_connection_that_was_closed_while_idle_has_lost_no_event(aws: LoopbackAws) -> None:
    connection = LambdaConnection(endpoint(aws.url), 5)
    lost: list[str] = []
    event = event_bytes(FILE, "us-east-1")
    assert connection.send_event("fan", event, lambda: lost.append("x")).status == 202
    aws.hang_up()
    assert connection.send_event("fan", event, lambda: lost.append("x")).status == 202
    connection.close()
    assert (lost, len(aws.received)) == ([], 2)


def test_throttling_lowers_the_calls_at_once_and_all_arrives(aws: LoopbackAws, tmp_path: Path) -> None:
    aws.count, aws.delay_s = 400, 0.005
    aws.trouble = lambda _call: "429" if aws.at_once >= 4 else None
    fan_out = launch(aws, tmp_path, concurrency=32)
    assert sorted(aws.received) == [aws.key(number) for number in range(aws.count)]
    assert aws.calls < 2 * aws.count, "it does not go on to send as if nothing were"
    assert fan_out.sent == aws.count


def test_lambda_is_left_alone_for_as_long_as_it_asks(aws: LoopbackAws, tmp_path: Path) -> None:
    aws.count, aws.retry_after_s = 2, "0.5"
    aws.trouble = lambda call: "429" if call == 1 else None
    started = time.monotonic()
    launch(aws, tmp_path, concurrency=1)
    assert time.monotonic() - started >= 0.5
    assert sorted(aws.received) == [aws.key(0), aws.key(1)]


@pytest.mark.parametrize("refusal", ["408", "409", "425", "429", "500", "503"])
def test_refusals_that_pass_do_not_end_a_launch(aws: LoopbackAws, tmp_path: Path, refusal: str) -> None:
    aws.count = 3
    aws.trouble = lambda call: refusal if call == 2 else None
    assert launch(aws, tmp_path, concurrency=1).sent == 3
    perhaps_twice = read(tmp_path / "journal").perhaps_twice
    assert list(perhaps_twice) == ([1] if int(refusal) >= 500 else []), "an error of the server may come late"


def test_a_connection_that_was_closed_while_idle_costs_nothing(aws: LoopbackAws, tmp_path: Path) -> None:
    aws.count = 30
    aws.trouble = lambda call: "close" if call in (10, 20) else None
    impatient = Patience(answer_s=1, first_pause_s=30, longest_pause_s=30)
    assert launch(aws, tmp_path, concurrency=1, patience=impatient).sent == 30


def test_nothing_accepted_for_long_ends_it_with_the_reason(aws: LoopbackAws, tmp_path: Path) -> None:
    aws.count = 50
    aws.trouble = lambda call: "429" if call > 10 else None
    patience = Patience(first_pause_s=0.01, longest_pause_s=0.05, give_up_s=0.3)
    with pytest.raises(UserError, match=r"not accepted an event for .* 429 TooManyRequestsException"):
        launch(aws, tmp_path, patience=patience)
    record = read(tmp_path / "journal")
    assert record.accepted == 10
    assert not any(one.perhaps_sent for one in record.pending.values()), "a refusal for throttling is sure"


def test_a_rate_is_kept(aws: LoopbackAws, tmp_path: Path) -> None:
    aws.count = 30
    started = time.monotonic()
    launch(aws, tmp_path, rate=100.0)
    assert time.monotonic() - started >= 0.28


def test_an_answer_of_somebody_else_is_not_taken_for_lambdas(aws: LoopbackAws, tmp_path: Path) -> None:
    aws.count = 5
    aws.trouble = lambda _call: "302"
    with pytest.raises(UserError, match=r"Invoke failed|The response is not from AWS Lambda"):
        launch(aws, tmp_path)


FILE = InputFile("bucket", "in/00000000.txt", 1, "e")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    paths = (folder / "certificate.pem", folder / "key.pem")
    subprocess.run(
        shlex.split(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
            "-subj /CN=lambda.test -addext subjectAltName=DNS:lambda.test,IP:127.0.0.1 "
            f"-out {paths[0]} -keyout {paths[1]}"
        ),
        check=True,
        capture_output=True,
    )
    return paths


@pytest.fixture
def secure_aws(certificate: tuple[Path, Path]) -> Iterator[LoopbackAws]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with running(LoopbackAws(), context) as served:
        yield served


def endpoint(url: str, ca_bundle: Path | None = None) -> LambdaEndpoint:
    signer = Signer(Credentials("test", "test"), "us-east-1", "lambda")
    return LambdaEndpoint(url, signer, str(ca_bundle) if ca_bundle else None)


def test_tls_is_spoken_and_a_certificate_of_nobody_is_refused_at_once(
    secure_aws: LoopbackAws, certificate: tuple[Path, Path]
) -> None:
    url = f"https://127.0.0.1:{secure_aws.port}"
    connection = LambdaConnection(endpoint(url, certificate[0]), 5)
    assert [connection.send_event("fan", event_bytes(FILE, "us-east-1")).status for _ in range(3)] == [
        202
    ] * 3
    connection.close()
    with pytest.raises(UserError, match=r"certificate of https://127.* is invalid.*AWS_CA_BUNDLE"):
        run_first(Target("fan", "us-east-1", endpoint(url)), FILE, QUICK)


def test_a_proxy_is_used_where_one_is_set(
    secure_aws: LoopbackAws, aws: LoopbackAws, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tunnel(secure_aws.port) as (port, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:p%40ss@127.0.0.1:{port}")
        connection = LambdaConnection(endpoint("https://lambda.test", certificate[0]), 5)
        statuses = [connection.send_event("fan", event_bytes(FILE, "us-east-1")).status for _ in range(3)]
        connection.close()
    assert statuses == [202] * 3
    assert len(asked) == 1, "one tunnel for all calls"
    assert asked[0].startswith("CONNECT lambda.test:443 ")
    assert "Proxy-Authorization: Basic bWU6cEBzcw==" in asked[0]
    monkeypatch.setenv("HTTP_PROXY", aws.url)  # it does not mind a whole URL in the request
    connection = LambdaConnection(endpoint("http://lambda.test:8080"), 5)
    assert connection.send_event("fan", event_bytes(FILE, "us-east-1")).status == 202
    connection.close()


@contextmanager
def tunnel(port: int) -> Iterator[tuple[int, list[str]]]:
    """A proxy that connects everybody to one port; gives its own port, and what it was asked for."""
    asked: list[str] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            head = b""
            while b"\r\n\r\n" not in head:
                head += self.request.recv(4096)
            asked.append(head.decode())
            with socket.create_connection(("127.0.0.1", port)) as far:
                self.request.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                back = threading.Thread(target=pump, args=(far, self.request), daemon=True)
                back.start()
                pump(self.request, far)

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], asked
        server.shutdown()


def test_the_first_event_waits_through_throttling(aws: LoopbackAws) -> None:
    aws.first_trouble = ["429", "close", "500"]
    lost: list[str] = []
    run_first(target(aws), FILE, QUICK, lambda: lost.append(FILE.key))
    assert aws.first == ["in/00000000.txt"]
    assert lost == [FILE.key] * 2, "a refusal for throttling is sure"
