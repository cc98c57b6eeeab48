"""Claims in a real DynamoDB, and outputs in a real S3, with versions."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from containers import aws
from containers.errors import ExplainedError
from runtime import handler, once
from runtime.config import load_config
from runtime.errors import InvocationError
from runtime.events.reading import read_event
from runtime.logs import Log
from runtime.once import Claim, Claimant, claim_id_of
from runtime.storage import s3_upload
from runtime.storage.contract import StoredObject, Upload
from runtime.storage.s3 import S3Storage
from tests.unit.runtime.conftest import Bucket, Context, Function
from tests.unit.runtime.event_shapes import event_bridge, s3_event, sqs

COPY = '#!/bin/sh\ncat "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/a"\necho $REQUEST_ID > "$TMP_OUTPUT_DIR/by"\n'
LogLines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def claims(aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A table of claims, and shorter times."""
    return make_claims(monkeypatch)


def make_claims(monkeypatch: pytest.MonkeyPatch) -> str:
    table = f"claims-{uuid.uuid4().hex}"
    aws.client("dynamodb").create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    monkeypatch.setenv("SCAR_CLAIMS_TABLE", table)
    for name, seconds in (("BEAT_S", 0.1), ("SILENT_S", 1.0), ("_LOOK_S", 0.02)):
        monkeypatch.setattr(once, name, seconds)
    return table


@pytest.fixture
def versioned(function: Function, claims: str) -> Function:
    """A function with `once`, whose outputs keep their versions."""
    keep_versions(function.bucket)
    function.deploy(COPY, once=True)
    return function


def keep_versions(bucket: Bucket) -> None:
    settings = {"Status": "Enabled"}
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration=settings)


def versions(bucket: Bucket, prefix: str = "out/") -> Counter[str]:
    """Number of versions of each key."""
    found = bucket.client.list_object_versions(Bucket=bucket.name, Prefix=prefix).get("Versions", [])
    return Counter(one["Key"].removeprefix(prefix) for one in found)


def deliver(function: Function, event: object, request_id: str, remaining_ms: int = 60_000) -> str:
    """The result of the only invocation of an event."""
    (result,) = handler.handle(event, Context(request_id, remaining_ms))["results"]
    return str(result["status"])


def claim(table: str, kind: Any = "request", claimant: str = "", claim_id: str = "1") -> Claim:
    return Claim(table, claim_id, Claimant(kind, claimant or uuid.uuid4().hex), Log())


def soon(seconds: float = 10) -> float:
    return time.monotonic() + seconds


# A function


def test_a_repeated_event_runs_once_and_a_new_upload_runs_again(
    versioned: Function, log_lines: LogLines
) -> None:
    versioned.bucket.put("in/a")
    event = s3_event(versioned.bucket.name, "in/a")
    assert deliver(versioned, event, "r1") == "done"
    assert deliver(versioned, event, "r2") == "duplicate"
    assert deliver(versioned, event, "r1") == "duplicate"
    assert versions(versioned.bucket) == {"a": 1, "by": 1}
    summaries = [line for line in log_lines() if line["message"] == "summary"]
    assert [line["status"] for line in summaries] == ["done", "duplicate", "duplicate"]
    assert summaries[1]["reason"] == "the input was already processed (request r1)"
    event["Records"][0]["s3"]["object"]["sequencer"] = "0B"
    assert deliver(versioned, event, "r3") == "done"
    assert versions(versioned.bucket) == {"a": 2, "by": 2}


def test_a_message_of_sqs_that_is_delivered_again_is_deleted_without_a_run(versioned: Function) -> None:
    versioned.bucket.put("in/a")
    event = sqs(s3_event(versioned.bucket.name, "in/a"))
    for request in ("r1", "r2"):
        assert handler.handle(event, Context(request)) == {"batchItemFailures": []}
    assert versions(versioned.bucket) == {"a": 1, "by": 1}


def test_the_next_attempt_of_a_failed_run_starts_at_once(versioned: Function) -> None:
    versioned.deploy("#!/bin/sh\nexit 3\n", once=True)
    versioned.bucket.put("in/a")
    event = s3_event(versioned.bucket.name, "in/a")
    with pytest.raises(InvocationError, match="exited with code 3"):
        deliver(versioned, event, "r1")
    versioned.deploy(COPY, once=True)
    started = time.monotonic()
    assert deliver(versioned, event, "r2") == "done"
    assert time.monotonic() - started < once.SILENT_S + 5


def test_an_upload_that_fails_in_the_middle_is_completed_by_the_next_attempt(
    versioned: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    versioned.bucket.put("in/a")
    event = s3_event(versioned.bucket.name, "in/a")
    put = s3_upload.S3Uploader._put

    def put_only_a(uploader: s3_upload.S3Uploader, upload: Upload) -> None:
        if upload.key != "out/a":
            raise OSError("cut")
        put(uploader, upload)

    with monkeypatch.context() as patched:
        patched.setattr(s3_upload.S3Uploader, "_put", put_only_a)
        with pytest.raises(InvocationError):
            deliver(versioned, event, "r1")
    assert versions(versioned.bucket) == {"a": 1}
    assert deliver(versioned, event, "r2") == "done"
    assert versions(versioned.bucket) == {"a": 1, "by": 1}


def test_an_event_that_nothing_distinguishes_from_another_upload_is_not_claimed(
    versioned: Function, log_lines: LogLines
) -> None:
    versioned.bucket.put("in/a")
    event = s3_event(versioned.bucket.name, "in/a")
    del event["Records"][0]["s3"]["object"]["sequencer"]
    assert [deliver(versioned, event, "r1") for _ in range(2)] == ["done", "done"]
    assert "not claimed" in [line["message"] for line in log_lines()]


def test_without_its_table_a_function_fails_and_runs_nothing(
    versioned: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    versioned.bucket.put("in/a")
    event = s3_event(versioned.bucket.name, "in/a")
    monkeypatch.setenv("SCAR_CLAIMS_TABLE", "gone")
    with pytest.raises(InvocationError, match="ClaimUnavailable: The claim on the input cannot be read"):
        deliver(versioned, event, "r1")
    monkeypatch.delenv("SCAR_CLAIMS_TABLE")
    with pytest.raises(InvocationError, match="`once`, but SCAR_CLAIMS_TABLE is not set"):
        deliver(versioned, event, "r1")
    assert versions(versioned.bucket) == {}


def test_a_table_that_does_not_answer_fails_the_run_in_time(
    versioned: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    versioned.bucket.put("in/a")
    with silent_server() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", address)
        with pytest.raises(InvocationError, match="TimedOut"):
            deliver(versioned, s3_event(versioned.bucket.name, "in/a"), "r1", remaining_ms=5500)
    assert versions(versioned.bucket) == {}


@contextmanager
def silent_server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_two_deliveries_at_once_run_once(versioned: Function) -> None:
    versioned.deploy("#!/bin/sh\nsleep 1\n" + COPY.partition("\n")[2], once=True)
    versioned.bucket.put("in/a")
    event = s3_event(versioned.bucket.name, "in/a")
    statuses: list[str] = []
    runs = [
        threading.Thread(target=lambda name=name: statuses.append(deliver(versioned, event, name)))
        for name in ("r1", "r2", "r3")
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sorted(statuses) == ["done", "duplicate", "duplicate"]
    assert versions(versioned.bucket) == {"a": 1, "by": 1}


def test_runner_does_not_load_claims_without_once() -> None:
    code = "import sys, runtime.handler, runtime.batch_job; print('runtime.once' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


# Claims


def test_the_same_event_has_the_same_claim_from_every_source(function: Function) -> None:
    function.deploy(COPY, once=True)
    config = load_config(os.environ)
    bucket = function.bucket.name
    through_event_bridge = event_bridge(bucket, "in/a b")
    through_event_bridge["detail"]["object"]["sequencer"] = "0A"
    events = [s3_event(bucket, "in/a b"), through_event_bridge, sqs(s3_event(bucket, "in/a b"))]
    sources = [read_event(event, config).invocations[0].source for event in events]
    assert len({claim_id_of(source, "f") for source in sources if source is not None}) == 1


@pytest.mark.parametrize(
    "other",
    [
        StoredObject("b", "k", version_id="1", sequencer="B"),
        StoredObject("b", "k", version_id="2", sequencer="A"),
        StoredObject("b", "x", version_id="1", sequencer="A"),
        StoredObject("x", "k", version_id="1", sequencer="A"),
    ],
)
def test_other_events_have_other_claims(other: StoredObject) -> None:
    assert claim_id_of(other, "f") != claim_id_of(StoredObject("b", "k", version_id="1", sequencer="A"), "f")


def test_suspended_versioning_gives_no_version() -> None:
    assert claim_id_of(StoredObject("b", "k", version_id="null", etag="e"), "f") is None
    one, two = (StoredObject("b", "k", version_id="null", etag=etag, sequencer="A") for etag in "xy")
    assert claim_id_of(one, "f") != claim_id_of(two, "f")


def test_a_living_run_is_waited_for(claims: str) -> None:
    first, second = claim(claims), claim(claims)
    assert first.take(soon()) is None
    with first:
        threading.Timer(1.2 * once.SILENT_S, first.__exit__, (None, None, None)).start()
        started = time.monotonic()
        reason = second.take(soon())
        assert reason is not None
        assert reason.startswith("the input was already processed (request ")
        assert time.monotonic() - started > once.SILENT_S


def test_the_end_of_a_failed_run_lets_the_waiting_one_run(claims: str) -> None:
    first, second = claim(claims), claim(claims)
    assert first.take(soon()) is None
    threading.Timer(0.3, first.__exit__, (ValueError, None, None)).start()
    assert second.take(soon()) is None
    with second:
        assert second.confirm(soon()) is None


def test_a_run_that_has_no_time_left_to_wait_fails(claims: str) -> None:
    first = claim(claims)
    assert first.take(soon()) is None
    with first, pytest.raises(ExplainedError, match="has not ended yet") as caught:
        claim(claims).take(soon(0.2))
    assert caught.value.kind == "InProgress"
    assert caught.value.kind.retryable


def dead(table: str, kind: Any = "request", claimant: str = "dead", *, uploading: bool = False) -> Claim:
    """The claim of a run that was killed."""
    killed = claim(table, kind, claimant)
    assert killed.take(soon()) is None
    if uploading:
        assert killed.confirm(soon()) is None
    killed._ended.set()
    time.sleep(0.15)  # a sign of life that was being written
    return killed


@pytest.mark.parametrize("kind", ["request", "message", "job"])
def test_the_next_attempt_takes_the_claim_of_a_dead_run_at_once(claims: str, kind: Any) -> None:
    dead(claims, kind)
    started = time.monotonic()
    with claim(claims, kind, "dead") as own:
        assert own.take(soon()) is None
        assert time.monotonic() - started < once.SILENT_S


@pytest.mark.parametrize(
    ("claimant", "uploading"), [("other", False), ("other", True), ("dead", True)], ids=str
)
def test_a_dead_run_is_found_by_its_silence(claims: str, claimant: str, uploading: bool) -> None:
    dead(claims, uploading=uploading)
    started = time.monotonic()
    with claim(claims, claimant=claimant) as own:
        assert own.take(soon()) is None
        assert time.monotonic() - started >= once.SILENT_S
        assert own.confirm(soon()) is None


def test_a_run_that_died_long_ago_is_not_waited_for(claims: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dead(claims)
    later = time.time() + 2 * once.OLD_S
    monkeypatch.setattr(time, "time", lambda: later)
    started = time.monotonic()
    with claim(claims) as own:
        assert own.take(soon()) is None
        assert time.monotonic() - started < once.SILENT_S


def test_only_one_of_many_takes_the_claim_of_a_dead_run(claims: str) -> None:
    dead(claims)
    taken: list[Claim] = []

    def take() -> None:
        own = claim(claims)
        if own.take(soon()) is None:
            taken.append(own)
            time.sleep(1.5 * once.SILENT_S)
            own.__exit__(None, None, None)

    runs = [threading.Thread(target=take) for _ in range(8)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(taken) == 1


def test_an_input_that_a_job_works_on_is_left_to_it(claims: str) -> None:
    job = claim(claims, "job", "j1")
    assert job.take(soon()) is None
    with job:
        assert claim(claims).take(soon()) == "the input is being processed (job j1)"
        assert claim(claims, "job", "j2").take(soon()) == "the input is being processed (job j1)"


def test_a_dead_job_is_not_trusted_to_end(claims: str) -> None:
    dead(claims, "job")
    with claim(claims, "job", "j2") as own:
        assert own.take(soon()) is None


def test_a_run_that_was_taken_for_dead_uploads_only_if_the_other_fails(claims: str) -> None:
    # Lambda delivers an event twice at the same moment, with the same request id.
    first, second = claim(claims, claimant="r"), claim(claims, claimant="r")
    assert first.take(soon()) is None
    assert second.take(soon()) is None
    threading.Timer(0.3, second.__exit__, (None, None, None)).start()
    with first:
        assert first.confirm(soon()) == "the input was already processed (request r)"

    first, second = claim(claims, claimant="r", claim_id="2"), claim(claims, claimant="r", claim_id="2")
    assert first.take(soon()) is None
    assert second.take(soon()) is None
    threading.Timer(0.3, second.__exit__, (ValueError, None, None)).start()
    with first:
        assert first.confirm(soon()) is None
        assert claim(claims, claim_id="2")._read().progress == "uploading"
    assert claim(claims, claim_id="2")._read().progress == "done"


def test_a_write_whose_answer_was_lost_is_not_another_run(claims: str) -> None:
    own = claim(claims)
    assert own.take(soon()) is None
    assert own.take(soon(0.1)) is None  # as botocore repeats the request
    assert own.confirm(soon()) is None
    assert own.confirm(soon(0.1)) is None
    own.__exit__(None, None, None)
    item = aws.client("dynamodb").get_item(TableName=claims, Key={"id": {"S": "1"}})["Item"]
    assert item["progress"]["S"] == "done"
    assert 29 * 86_400 < int(item["expires_at"]["N"]) - time.time() < 31 * 86_400


# Outputs


@pytest.fixture
def outputs(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Uploads a small and a large file under a claim; the large one in parts."""
    monkeypatch.setattr(s3_upload, "LARGE_BYTES", 6 * 1024 * 1024)
    keep_versions(bucket)

    def upload(claim_id: str, content: bytes = b"x") -> None:
        (tmp_path / "small").write_bytes(content)
        (tmp_path / "large").write_bytes(content * 6 * 1024 * 1024)
        files = [tmp_path / "small", tmp_path / "large"]
        S3Storage().upload(
            [Upload(file, bucket.name, f"out/{file.name}", file.stat().st_size, claim_id) for file in files]
        )

    return upload


def test_an_output_is_written_once_for_each_claim(bucket: Bucket, outputs: Callable[..., None]) -> None:
    outputs("1")
    outputs("1", b"y")  # even with other content: the next function has seen the first
    assert versions(bucket) == {"small": 1, "large": 1}
    assert bucket.get("out/small") == b"x"
    outputs("2")
    assert versions(bucket) == {"small": 2, "large": 2}
    assert bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []) == []


def test_two_runs_that_upload_at_the_same_moment_write_each_output_once(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_versions(bucket)
    monkeypatch.setattr(s3_upload, "LARGE_BYTES", 6 * 1024 * 1024)
    both, finish = threading.Barrier(2, timeout=30), s3_upload.S3Uploader._finish

    def finish_together(uploader: s3_upload.S3Uploader, begun: Any) -> None:
        both.wait()
        finish(uploader, begun)

    monkeypatch.setattr(s3_upload.S3Uploader, "_finish", finish_together)
    runs = []
    for content in (b"x", b"y"):
        file = tmp_path / content.decode()
        file.write_bytes(content * 6 * 1024 * 1024)
        upload = Upload(file, bucket.name, "out/large", file.stat().st_size, "1")
        runs.append(threading.Thread(target=S3Storage().upload, args=([upload],)))
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert not both.broken
    assert versions(bucket) == {"large": 1}
    assert bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []) == []


@pytest.mark.parametrize("before", [(), ("0",)], ids=["new", "overwritten"])
def test_requests_whose_answer_is_lost_write_each_output_once(
    bucket: Bucket, outputs: Callable[..., None], monkeypatch: pytest.MonkeyPatch, cloud: str, before: Any
) -> None:
    for claim_id in before:
        outputs(claim_id)  # with the same content: the ETag does not change
    with losing_answers(cloud) as (endpoint, lost):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        outputs("1")
    assert lost == {"PUT": 1, "POST": 1}
    assert versions(bucket) == {"small": 1 + len(before), "large": 1 + len(before)}


@contextmanager
def losing_answers(cloud: str) -> Iterator[tuple[str, Counter[str]]]:
    """A proxy that passes requests on, and once each closes the connection after the object was written."""
    lost: Counter[str] = Counter()

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = http.client.HTTPConnection(urlsplit(cloud).netloc)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            writes = ("partNumber" not in self.path) if self.command == "PUT" else ("uploadId" in self.path)
            written = writes and answer.status == 200 and self.command in ("PUT", "POST")
            if written and not lost[self.command]:
                lost[self.command] += 1
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            self.send_header(
                "Content-Length",
                answer.getheader("Content-Length") or "0" if self.command == "HEAD" else str(len(content)),
            )
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with serving(Proxy) as endpoint:
        yield endpoint, lost


@contextmanager
def serving(kind: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_role_that_may_not_read_outputs_is_an_error(
    outputs: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(BaseHTTPRequestHandler):
        """As S3 answers if an object exists that the role may not read."""

        protocol_version = "HTTP/1.1"

        def _refuse(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code = b"" if self.command == "HEAD" else b"<Error><Code>PreconditionFailed</Code></Error>"
            self.send_response(403 if self.command == "HEAD" else 412)
            self.send_header("Content-Length", str(len(code)))
            self.end_headers()
            self.wfile.write(code)

        do_HEAD = do_PUT = do_POST = _refuse  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    monkeypatch.setattr(s3_upload, "LARGE_BYTES", 1 << 40)
    with serving(Refusing) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        with pytest.raises(ExplainedError, match="needs s3:GetObject on its outputs") as caught:
            outputs("1")
    assert caught.value.kind == "StorageRefused"
