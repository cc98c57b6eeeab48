"""What a Batch job starts with, run as Batch runs it: its text, a plain Python, and an S3 server."""

from __future__ import annotations

import http.server
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from scar_constructs import batch_bootstrap
from tests.interpreters import find_python
from tests.synth.s3_server import S3Server

Request = http.server.BaseHTTPRequestHandler
TEXT = Path(batch_bootstrap.__file__).read_text()
# Stands in for the runner: tells what it was started with.
RUNNER = """
import json, os, sys
print(json.dumps({
    "function_dir": os.environ["SCAR_FUNCTION_DIR"],
    "files": sorted(os.listdir(os.environ["SCAR_FUNCTION_DIR"])),
    "executable": os.access(os.path.join(os.environ["SCAR_FUNCTION_DIR"], "init_script"), os.X_OK),
    "region": os.environ["AWS_DEFAULT_REGION"],
    "event": os.environ["SCAR_EVENT"],
    "runner": __file__,
    "path": sys.path,
    "version": "{}.{}".format(*sys.version_info[:2]),
}))
sys.exit(7)
"""


def zipped(files: Mapping[str, tuple[str, int]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (content, mode) in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = (0o100000 | mode) << 16
            archive.writestr(member, content)
    return buffer.getvalue()


RUNNER_ZIP = zipped(
    {"python/runtime/__init__.py": ("", 0o644), "python/runtime/batch_job.py": (RUNNER, 0o644)}
)
FUNCTION_ZIP = zipped({"function_config.json": ("{}", 0o644), "init_script": ("#!/bin/sh\n", 0o755)})


def start(tmp_path: Path, python: str = sys.executable, **variables: str) -> subprocess.CompletedProcess[str]:
    # Another package of that name in the current folder must not be taken for the runner.
    (tmp_path / "here" / "runtime").mkdir(parents=True, exist_ok=True)
    (tmp_path / "here" / "runtime" / "batch_job.py").write_text("raise SystemExit('the wrong runner')")
    return subprocess.run(
        [python, "-c", TEXT],
        env={"PATH": os.environ["PATH"], "SCAR_STORE": str(tmp_path / "store"), "SCAR_EVENT": "{}"}
        | variables,
        cwd=tmp_path / "here",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def assets(s3_server: S3Server) -> Mapping[str, str]:
    """The job's variables, with both packages in S3."""
    s3 = s3_server.client()
    s3.create_bucket(Bucket="assets")
    s3.put_object(Bucket="assets", Key="runner.zip", Body=RUNNER_ZIP)
    s3.put_object(Bucket="assets", Key="function.zip", Body=FUNCTION_ZIP)
    return {
        **s3_server.environment,
        "SCAR_RUNNER_ASSET": "s3://assets/runner.zip",
        "SCAR_FUNCTION_ASSET": "s3://assets/function.zip",
    }


@pytest.mark.parametrize("name", ["this", "python3.11", "python3.12", "python3.13"])
def test_runner_continues_in_the_jobs_process(assets: Mapping[str, str], tmp_path: Path, name: str) -> None:
    python = Path(sys.executable) if name == "this" else find_python(name.removeprefix("python"))
    if python is None:
        pytest.skip(f"no {name} here")
    job = start(tmp_path, str(python), **assets)
    assert job.returncode == 7, job.stdout + job.stderr
    told = json.loads(job.stdout)
    assert told["files"] == ["function_config.json", "init_script"]
    assert told["executable"]
    assert told["region"] == "us-east-1"
    assert told["event"] == "{}"
    assert told["runner"].startswith(str(tmp_path / "store" / "assets"))
    python_folder = Path(told["runner"]).parents[1]
    assert f"{python_folder}/lib/python{told['version']}/site-packages" in told["path"]


def test_second_job_uses_what_the_first_has_unpacked(assets: Mapping[str, str], tmp_path: Path) -> None:
    first = start(tmp_path, **assets)
    # No server any more: nothing is fetched again.
    second = start(tmp_path, **{**assets, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    assert (first.returncode, second.returncode) == (7, 7)
    assert first.stdout == second.stdout
    assert len(list((tmp_path / "store" / "assets").iterdir())) == 2


def test_a_store_that_others_can_write_is_not_used(assets: Mapping[str, str], tmp_path: Path) -> None:
    shared = tmp_path / "store" / "assets"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    job = start(tmp_path, **assets, TMPDIR=str(tmp_path))
    assert job.returncode == 7
    assert list(shared.iterdir()) == []


def failed(job: subprocess.CompletedProcess[str]) -> str:
    assert job.returncode == 1, job.stdout + job.stderr
    assert "Traceback" not in job.stderr
    line = json.loads(job.stdout)
    assert (line["level"], line["stage"]) == ("ERROR", "bootstrap")
    return str(line["message"])


def test_a_missing_package_is_told_at_once(assets: Mapping[str, str], tmp_path: Path) -> None:
    message = failed(start(tmp_path, **{**assets, "SCAR_FUNCTION_ASSET": "s3://assets/nothing.zip"}))
    assert "cannot fetch s3://assets/nothing.zip: HTTP 404" in message


@pytest.mark.parametrize("value", ["", "runner.zip", "s3://assets", "https://assets/runner.zip"])
def test_a_package_that_is_not_named_well_is_told(
    assets: Mapping[str, str], tmp_path: Path, value: str
) -> None:
    assert "expected s3://BUCKET/KEY" in failed(start(tmp_path, **{**assets, "SCAR_RUNNER_ASSET": value}))


def test_something_that_is_no_zip_is_told_and_leaves_nothing(
    assets: Mapping[str, str], s3_server: S3Server, tmp_path: Path
) -> None:
    s3_server.client().put_object(Bucket="assets", Key="torn.zip", Body=RUNNER_ZIP[:100])
    message = failed(start(tmp_path, **{**assets, "SCAR_RUNNER_ASSET": "s3://assets/torn.zip"}))
    assert "s3://assets/torn.zip is not a whole zip archive" in message
    assert list((tmp_path / "store" / "assets").iterdir()) == []


def test_no_credentials_is_told(assets: Mapping[str, str], tmp_path: Path) -> None:
    message = failed(start(tmp_path, **{**assets, "AWS_ACCESS_KEY_ID": ""}))
    assert "there are no AWS credentials; the job definition needs a job role" in message


@contextmanager
def http_server(answer: Callable[[Request], None]) -> Iterator[str]:
    class Handler(Request):
        def do_GET(self) -> None:  # noqa: N802
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(request: Request, status: int, body: bytes, length: int | None = None) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(body) if length is None else length))
    request.end_headers()
    request.wfile.write(body)


def test_what_passes_is_tried_again(assets: Mapping[str, str], tmp_path: Path) -> None:
    seen: list[str] = []

    def flaky(request: Request) -> None:
        seen.append(request.path)
        body = RUNNER_ZIP if "runner" in request.path else FUNCTION_ZIP
        if len(seen) == 1:
            send(request, 503, b"slow down")
        elif len(seen) == 2:
            send(request, 200, body[:50], len(body))  # the connection is cut
        else:
            send(request, 200, body)

    with http_server(flaky) as endpoint:
        job = start(tmp_path, **{**assets, "AWS_ENDPOINT_URL": endpoint})
    assert job.returncode == 7, job.stdout + job.stderr
    assert seen == ["/assets/runner.zip"] * 3 + ["/assets/function.zip"]


def test_credentials_of_the_job_role_are_used(assets: Mapping[str, str], tmp_path: Path) -> None:
    def role(request: Request) -> None:
        assert request.headers["Authorization"] == "secret token"
        found = {"AccessKeyId": "ASIA1", "SecretAccessKey": "key", "Token": "session"}
        send(request, 200, json.dumps(found).encode())

    headers: list[Mapping[str, str]] = []

    def s3(request: Request) -> None:
        headers.append({name.lower(): value for name, value in request.headers.items()})
        send(request, 200, RUNNER_ZIP if "runner" in request.path else FUNCTION_ZIP)

    with http_server(role) as credentials, http_server(s3) as endpoint:
        variables = {
            **assets,
            "AWS_ACCESS_KEY_ID": "",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{credentials}/role",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "secret token",
            "http_proxy": "http://127.0.0.1:9",
            "no_proxy": endpoint.removeprefix("http://"),
        }
        job = start(tmp_path, **variables)
    assert job.returncode == 7, job.stdout + job.stderr
    assert "Credential=ASIA1/" in headers[0]["authorization"]
    assert headers[0]["x-amz-security-token"] == "session"


@pytest.mark.parametrize(
    "key", ["0123abcd.zip", "a b+c.zip", "ü/ñ.zip", "100%.zip", "x'\"$(id)&=?#.zip", "a//b/~-_."]
)
@pytest.mark.parametrize("token", ["", "a/session+token=="])
@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:4566", "https://gateway.example.org/s3/"])
def test_signature_is_the_one_of_botocore(
    monkeypatch: pytest.MonkeyPatch, key: str, token: str, endpoint: str | None
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    ours = batch_bootstrap.signed_get("assets", key, ("AKID", "very/secret", token))
    date = datetime.strptime(ours.headers["X-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: date.replace(tzinfo=None))
    theirs = AWSRequest("GET", ours.full_url, headers={"x-amz-content-sha256": batch_bootstrap.EMPTY_SHA256})
    S3SigV4Auth(Credentials("AKID", "very/secret", token or None), "s3", "eu-west-1").add_auth(theirs)
    assert ours.headers["Authorization"] == theirs.headers["Authorization"]


def test_regional_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "cn-north-1")
    china = batch_bootstrap.signed_get("assets", "k", ("a", "b", "")).full_url
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    europe = batch_bootstrap.signed_get("assets", "k", ("a", "b", "")).full_url
    assert china == "https://assets.s3.cn-north-1.amazonaws.com.cn/k"
    assert europe == "https://assets.s3.eu-west-1.amazonaws.com/k"
