"""Whatever Lambda's endpoint does, each file's event is accepted in the end, or the launch says why not."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import boto3
import pytest
from botocore.credentials import Credentials

from fdl_schemas.model import StorageEntry
from scar_cli.errors import UserError
from scar_cli.fan_out import Event, FanOut, Target
from scar_cli.first_event import run_first
from scar_cli.invoking import LambdaEndpoint
from scar_cli.journal import Journal, read
from scar_cli.launch_files import InputFile, Listing, Selection, sources_of
from scar_cli.pace import Patience
from scar_cli.signing import Signer
from tests.loopback_aws import LoopbackAws, running

pytestmark = pytest.mark.cloud

QUICK = Patience(answer_s=0.15, first_pause_s=0.005, longest_pause_s=0.05, give_up_s=5.0, calm_s=0.02)


@pytest.fixture
def aws() -> Iterator[LoopbackAws]:
    with running(LoopbackAws()) as served:
        yield served


def target(aws: LoopbackAws) -> Target:
    signer = Signer(Credentials("test", "test"), "us-east-1", "lambda")
    return Target("fan", "us-east-1", LambdaEndpoint(aws.url, signer))


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


def test_throttling_lowers_the_calls_at_once_and_all_arrives(aws: LoopbackAws, tmp_path: Path) -> None:
    aws.count, aws.delay_s = 200, 0.005
    aws.trouble = lambda _call: "429" if aws.at_once >= 4 else None
    fan_out = launch(aws, tmp_path, concurrency=32)
    assert sorted(aws.received) == [aws.key(number) for number in range(aws.count)]
    refused = aws.calls - aws.count
    assert refused < 200, "it does not go on to send as if nothing were"
    assert fan_out.sent == aws.count


def test_a_connection_that_was_closed_while_idle_costs_nothing(aws: LoopbackAws, tmp_path: Path) -> None:
    aws.count = 30
    aws.trouble = lambda call: "close" if call in (10, 20) else None
    impatient = Patience(answer_s=1, first_pause_s=30, longest_pause_s=30)
    assert launch(aws, tmp_path, concurrency=1, patience=impatient).sent == 30


def test_nothing_accepted_for_long_ends_it_with_the_reason(aws: LoopbackAws, tmp_path: Path) -> None:
    aws.count = 50
    aws.trouble = lambda call: "429" if call > 10 else None
    patience = Patience(first_pause_s=0.01, longest_pause_s=0.05, give_up_s=0.3)
    with pytest.raises(UserError, match=r"not accepted anything for .* 429 TooManyRequestsException"):
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
    with pytest.raises(UserError, match=r"Invoke failed|Something else than AWS Lambda answers"):
        launch(aws, tmp_path)


def test_the_first_event_waits_through_throttling(aws: LoopbackAws) -> None:
    run_first(target(aws), InputFile("bucket", "in/00000000.txt", 1, "e"), QUICK)
    assert aws.first == ["in/00000000.txt"]
