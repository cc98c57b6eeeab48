"""What AWS answers when it refuses, and what a person then reads: one sentence, and what to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from botocore.exceptions import (
    ClientError,
    NoRegionError,
    ReadTimeoutError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from click.testing import CliRunner

from scar_cli.aws.session import explain
from scar_cli.errors import UserError
from scar_cli.main import scar

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
WORKFLOW = {
    "functions": [
        {
            "name": "f",
            "mode": "lambda",
            "log_group": "/aws/lambda/f",
            "failure_queue_url": "http://queue",
            "inputs": [],
            "outputs": [],
        }
    ],
    "buckets": [],
}
STACKS = f"""<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
<DescribeStacksResult><Stacks><member>
<StackName>s</StackName><StackStatus>CREATE_COMPLETE</StackStatus><CreationTime>2026-01-01T00:00:00Z</CreationTime>
<Description>SCAR workflow s: files</Description>
<Outputs><member><OutputKey>ScarWorkflow</OutputKey><OutputValue>{json.dumps(WORKFLOW)}</OutputValue></member></Outputs>
</member></Stacks></DescribeStacksResult></DescribeStacksResponse>"""


@dataclass
class Refusal:
    """How each service answers: status and body, by the path's beginning; CloudFormation's is `/`."""

    answers: dict[str, tuple[int, str]] = field(default_factory=dict)


class Aws(ThreadingHTTPServer):
    """Speaks as AWS does when it refuses."""

    daemon_threads = True

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refusal = refusal


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Aws)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answers = self.server.refusal.answers
        best = max((path for path in answers if self.path.startswith(path)), key=len)
        status, body = answers[best]
        content = b"" if self.command == "HEAD" else body.encode()
        self.send_response(status)
        if body.startswith("{"):
            self.send_header("x-amzn-errortype", str(json.loads(body).get("__type", "")))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_HEAD = do_PUT = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Refusal]:
    refusal = Refusal({"/": (200, STACKS)})
    server = Aws(refusal)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield refusal
    server.shutdown()
    server.server_close()


def told(*words: str) -> str:
    """The one message with which the command ends."""
    result = CliRunner().invoke(scar, words)
    assert isinstance(result.exception, UserError), result.output
    assert result.exception.exit_code == 2
    text = str(result.exception)
    assert "\n" not in text
    assert SECRET not in text + result.output
    return text


@pytest.mark.parametrize(
    ("verb", "code", "message", "said"),
    [
        ("ls", "ExpiredToken", "The security token is expired", "have expired. Log in"),
        ("status", "InvalidClientTokenId", "It is invalid", "AWS rejected the credentials. Check"),
        (
            "retry",
            "SignatureDoesNotMatch",
            "Signature expired: 2026",
            "clock of this machine is wrong. Set it",
        ),
        (
            "rm -a",
            "AccessDenied",
            "x is not authorized",
            "DescribeStacks is not allowed: x is not authorized",
        ),
    ],
)
def test_a_refusal_is_one_sentence_and_what_to_do(
    aws: Refusal, verb: str, code: str, message: str, said: str
) -> None:
    aws.answers["/"] = (403, f"<E><Error><Code>{code}</Code><Message>{message}</Message></Error></E>")
    assert said in told(*verb.split())


@pytest.mark.parametrize(
    "words", ["ls", "get -b bucket", "log", "status", "retry", "run -n f ls", "invoke", "rm -a -y"]
)
def test_every_verb_explains_missing_credentials(
    aws: Refusal, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert told(*words.split()).startswith("No AWS credentials were found. Run `aws configure`")


def test_throttling_is_said_at_once_where_trying_again_could_run_twice(aws: Refusal) -> None:
    aws.answers["/2015-03-31/functions/f/invocations"] = (
        429,
        '{"__type": "TooManyRequestsException", "Message": "Rate exceeded"}',
    )
    assert "AWS is throttling requests (Invoke). Wait a moment and try again." in told("run", "-n", "f")


def test_a_function_that_someone_has_deleted_is_said(aws: Refusal) -> None:
    aws.answers["/2015-03-31/"] = (404, '{"__type": "ResourceNotFoundException", "Message": "gone"}')
    assert "The function f of the stack s no longer exists. Deploy the workflow again" in told(
        "run", "-n", "f"
    )


@pytest.mark.parametrize(
    ("verb", "head", "code", "said"),
    [
        ("ls -b pictures", 400, "ExpiredToken", "The AWS credentials have expired"),
        ("get -b pictures/in", 403, "InvalidAccessKeyId", "AWS rejected the credentials"),
        (
            "put -b pictures/in -p {file}",
            403,
            "AccessDenied",
            "exists, but these credentials cannot access it",
        ),
        ("ls -b pictures/in", 404, "NoSuchBucket", "The bucket pictures does not exist at http"),
    ],
)
def test_the_reason_is_asked_for_where_an_answer_to_head_has_none(
    aws: Refusal, tmp_path: Path, *, verb: str, head: int, code: str, said: str
) -> None:
    aws.answers["/pictures"] = (head, f"<Error><Code>{code}</Code><Message>no</Message></Error>")
    (tmp_path / "file").touch()
    assert said in told(*verb.format(file=tmp_path / "file").split())


def test_another_file_s_function_is_not_taken_for_one_s_own(aws: Refusal, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("functions: {aws: [{lambda: {name: f, container: {image: busybox}}}]}")
    for verb in ("ls", "rm", "run"):
        said = told(verb, "-f", str(other))
        assert said == (
            "f is deployed, but by another FDL file (s), as the stack s. "
            "To select that, use --stack s instead of -f."
        )


HOSTILE = "\x1b[2J\x1b]0;title\x07\u202e\x9b31m" + "A" * 800_000


def fit_for_a_terminal(text: str) -> bool:
    return len(text) < 9000 and text.replace("\n", "").isprintable()


@pytest.mark.parametrize("code", ["ValidationError", "AccessDenied", "&#x9b;31m&#x202e;" + "A" * 800_000])
def test_what_aws_says_reaches_the_terminal_short_and_escaped(aws: Refusal, code: str) -> None:
    message = "&#x9b;31m&#x202e;" + "B" * 800_000  # XML knows the eight-bit form of ESC [ alone
    aws.answers["/"] = (403, f"<E><Error><Code>{code}</Code><Message>{message}</Message></Error></E>")
    assert fit_for_a_terminal(told("ls"))


def test_an_error_keeps_its_lines_and_shows_no_control_characters() -> None:
    error = UserError(f"one\r\ntwo {HOSTILE}", f"Do {HOSTILE}")
    assert error.cause.startswith("one\ntwo \\x1b[2J\\x1b]0;title\\x07\\u202e\\x9b31mAAA")
    assert fit_for_a_terminal(error.cause)
    assert fit_for_a_terminal(error.advice)


def test_a_missing_region_is_said(aws: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert told("ls") == "No AWS region is set. Set AWS_REGION, for example to us-east-1."


def test_a_launch_without_a_region_is_not_one_of_us_east_1(
    aws: Refusal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    fdl = tmp_path / "w.yaml"
    fdl.write_text(
        "functions: {aws: [{lambda: {name: f, container: {image: busybox}, "
        "input: [{storage_provider: s3, path: bucket/in}]}}]}"
    )
    assert told("run", "-f", str(fdl)).startswith("No AWS region is set.")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NoRegionError(), "No AWS region is set"),
        (UnauthorizedSSOTokenError(), "Log in again, for example with `aws sso login`"),
        (
            TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"),
            "Token has expired and refresh failed. Log in again",
        ),
        (ReadTimeoutError(endpoint_url="https://aws"), "https://aws did not respond in time. Try again"),
        (
            ClientError({"Error": {"Code": "SlowDown", "Message": "slow"}}, "PutObject"),
            "AWS is throttling requests (PutObject)",
        ),
        (
            ClientError({"Error": {"Code": "RequestTimeTooSkewed", "Message": "x"}}, "GetObject"),
            "The clock of this machine is wrong",
        ),
    ],
)
def test_errors_of_boto3_have_words_for_people(error: Exception, said: str) -> None:
    assert said in str(explain(error))
