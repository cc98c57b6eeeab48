"""`--max-cost`: how many events a launch sends, and that the limit is not passed.

The runs are simulated: each event that was sent becomes a run some looks later, of a random cost. What
decides, sends and records is the code of a launch, against an endpoint on loopback.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from threading import Event as Stop
from typing import Any

import boto3
import pytest
from botocore.credentials import Credentials

from fdl_schemas.model import Container, Function, StorageEntry, Workflow
from scar_cli.aws.invoking import LambdaEndpoint
from scar_cli.aws.signing import Signer
from scar_cli.errors import UserError
from scar_cli.launch import budget as module
from scar_cli.launch.budget import Budget, Measured, following, require_logs
from scar_cli.launch.fan_out import Event, FanOut, Target
from scar_cli.launch.files import Listing, Selection, sources_of
from scar_cli.launch.journal import Journal
from scar_cli.runs.model import Run
from tests.loopback_aws import LoopbackAws, running
from tests.unit.scar_cli.watch.aws_of_a_workflow import Aws
from tests.unit.scar_cli.watch.runs_of_a_workflow import DETECT, NOW_MS

RUN = Run("fan", "us-east-1", "lambda", "done", 0, 0, "r", "s")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.0)


class Cloud:
    """Runs what was sent: at each look, some of it ends."""

    def __init__(
        self,
        sent: Callable[[], int],
        usd: Callable[[int], float],
        *,
        at_once: int = 7,
        failing: int = 0,
        following: str | None = None,
    ) -> None:
        self.sent, self.usd, self.at_once, self.failing = sent, usd, at_once, failing
        self.following = following
        self.ended = 0
        self.total = 0.0

    def read(self) -> Iterator[tuple[Run, float | None]]:
        for _ in range(min(self.at_once, self.sent() - self.ended)):
            fails = self.failing and self.ended % self.failing == 0
            for _attempt in range(3 if fails else 1):
                usd = self.usd(self.ended)
                self.total += usd
                yield RUN._replace(status="failed" if fails else "done"), usd
            if self.following:
                self.total += 0.02
                yield RUN._replace(function=self.following), 0.02
            self.ended += 1

    def finish(self) -> float:
        """What everything costs that was sent."""
        for _usd in self.read():
            pass
        while self.ended < self.sent():
            for _usd in self.read():
                pass
        return self.total


def sent_within(limit: float, files: int, **cloud: Any) -> tuple[int, Cloud, UserError | None]:
    """Send what the budget allows; returns the number of events, the cloud and the error."""
    sent = 0
    simulated = Cloud(lambda: sent, **cloud)
    others = [cloud["following"]] if cloud.get("following") else []
    budget = Budget(limit, "fan", others, 3, simulated.read)
    error = None
    while sent < files:
        try:
            sent += min(budget.may_send(sent, 32, Stop()), files - sent)
        except UserError as refused:
            error = refused
            break
    return sent, simulated, error


@pytest.mark.parametrize("seed", range(20))
def test_the_limit_is_not_passed_and_most_of_it_is_used(seed: int) -> None:
    chance = random.Random(seed)
    mean = chance.uniform(0.001, 0.05)
    sent, cloud, error = sent_within(
        1.0, 100_000, usd=lambda _n: mean * chance.uniform(0.5, 1.5), at_once=chance.randint(1, 50)
    )
    assert error is not None
    spent = cloud.finish()
    assert spent <= 1.0 + 1e-9
    assert spent >= 1.0 - 8 * mean, "it stops a few files before the limit"
    assert sent == cloud.ended


def test_rare_expensive_files_are_reckoned_with() -> None:
    chance = random.Random(1)
    _sent, cloud, error = sent_within(
        10.0, 100_000, usd=lambda _n: 0.2 if chance.random() < 0.05 else 0.002, at_once=20
    )
    assert error is not None
    assert cloud.finish() <= 10.0 + 1e-9


def test_failures_are_counted_with_all_of_their_attempts() -> None:
    sent, cloud, error = sent_within(1.0, 10_000, usd=lambda _n: 0.01, failing=4)
    assert error is not None
    assert cloud.finish() <= 1.0 + 1e-9
    # One of four files costs three times as much: 0.015 USD each on average.
    assert 55 <= sent <= 67


def test_functions_that_process_the_results_are_counted() -> None:
    sent, cloud, error = sent_within(3.0, 10_000, usd=lambda _n: 0.01, following="next")
    assert error is not None
    assert cloud.finish() <= 3.0 + 1e-9
    assert sent >= 80


def test_a_function_that_has_not_run_yet_is_expected_to_cost_as_much_as_the_first() -> None:
    first = Measured()
    first.add(RUN, 0.01)
    alone, followed = (
        Budget(1.0, "fan", others, 1, lambda: iter([]), {"fan": first}) for others in ([], ["next"])
    )
    assert followed.projected(10) == pytest.approx(alone.projected(10) + first.estimate(10))


def test_each_run_since_the_start_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = Aws()
    monkeypatch.setattr(module, "client", aws.get)
    reader = module._Reader([DETECT], NOW_MS)
    aws.invocation("before", NOW_MS - 1)
    aws.invocation("1", NOW_MS + 100_000)
    assert [run.request_id for run in reader.read()] == ["1"]
    aws.invocation("late", NOW_MS + 70_000, stream="other")
    aws.invocation("2", NOW_MS + 101_000)
    assert [run.request_id for run in reader.read()] == ["late", "2"]
    assert list(reader.read()) == []


def test_everything_is_sent_if_it_costs_less() -> None:
    sent, cloud, error = sent_within(10.0, 500, usd=lambda _n: 0.01)
    assert (sent, error) == (500, None)
    assert cloud.finish() == pytest.approx(5.0)


def test_one_file_is_the_measure_and_may_be_the_only_one() -> None:
    sent, _cloud, error = sent_within(0.5, 10, usd=lambda _n: 0.4)
    assert sent == 1
    assert str(error) == (
        "The launch stopped, because the next file might pass --max-cost 0.5: runs have cost 0.4 USD so far. "
        "To continue, use a higher limit."
    )


def test_a_run_without_a_price_ends_the_launch() -> None:
    budget = Budget(1.0, "fan", [], 1, lambda: iter([(RUN, None)]))
    with pytest.raises(UserError, match="The cost of fan is unknown: no price of its instances in us-east-1"):
        budget.may_send(1, 32, Stop())


def test_an_interrupted_launch_does_not_wait() -> None:
    stop = Stop()
    stop.set()
    assert Budget(1.0, "fan", [], 1, lambda: iter([])).may_send(1, 32, stop) == 0


def test_silence_ends_the_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENT_S", 0.0)
    with pytest.raises(UserError, match="runs have cost 0 USD so far, and 1 file on the way"):
        Budget(1.0, "fan", [], 1, lambda: iter([])).may_send(1, 32, Stop())


def test_an_estimate_is_cautious_while_few_runs_are_known() -> None:
    one = Measured()
    one.add(RUN, 0.01)
    assert one.estimate(100) == pytest.approx(1.0 + 3 * 0.01 * (100 + 100**2) ** 0.5)
    for _ in range(9999):
        one.add(RUN, 0.01)
    assert one.estimate(100) == pytest.approx(1.0, rel=0.01)
    one.add(RUN._replace(status="delegated"), 0.05)
    assert one.runs == 10_000, "another run continues the event"
    assert one.usd == pytest.approx(100.05)
    assert one.estimate(0) == 0.0


def test_the_functions_behind_a_function_are_found() -> None:
    def function(name: str, source: str, target: str) -> Function:
        entries = (StorageEntry("bucket", source),), (StorageEntry("bucket", target),)
        return Function(name, Container(image="any"), inputs=entries[0], outputs=entries[1])

    chain_ = [
        function("a", "1", "2"),
        function("b", "2", "3"),
        function("c", "3", "4"),
        function("d", "9", "1"),
    ]
    assert following(Workflow(Path("/w.yaml"), tuple(chain_)), "b") == {"b", "c"}


def test_a_function_without_a_log_has_no_known_cost() -> None:
    with pytest.raises(UserError, match=r"--max-cost needs the log level INFO .*, and f has ERROR"):
        require_logs(Function("f", Container(image="any"), log_level="ERROR"))


def test_a_launch_stops_at_its_limit_and_is_resumed_with_a_higher_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SILENT_S", 1.0)
    record = Journal.accepted

    def record_slowly(journal: Journal, number: int) -> None:
        record(journal, number)
        time.sleep(0.003)

    monkeypatch.setattr(Journal, "accepted", record_slowly)
    with running(LoopbackAws(count=300)) as aws:
        s3 = boto3.client(
            "s3",
            endpoint_url=aws.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        endpoint = LambdaEndpoint(aws.url, Signer(Credentials("test", "test"), "us-east-1", "lambda"))
        entries = (StorageEntry("bucket", "in"),)

        def launch(journal: Journal, limit: float) -> FanOut:
            cloud = Cloud(lambda: len(aws.received), lambda _n: 0.01)
            budget = Budget(limit, "fan", [], 3, cloud.read)
            pages = Listing(s3, Selection(sources_of(entries), entries)).pages(journal.record.position)
            target = Target("fan", "us-east-1", endpoint)
            events = map(Event, chain.from_iterable(pages))
            fan_out = FanOut(target, events, journal, concurrency=8, budget=budget)
            fan_out.run()
            return fan_out

        with closing(Journal.create(tmp_path / "journal", {})) as journal:
            stopped = r"the next file might pass --max-cost 1: runs have cost [\d.]+ USD so far\. "
            with pytest.raises(UserError, match=stopped):
                launch(journal, 1.0)
            accepted = journal.record.accepted
        assert 85 <= len(aws.received) == accepted <= 100
        with closing(Journal.resume(tmp_path / "journal")) as journal:
            assert journal.go_on([]) == []
            launch(journal, 10.0)
            assert (journal.record.accepted, journal.record.perhaps_twice) == (300, {})
        assert sorted(aws.received) == [aws.key(number) for number in range(300)], "each of them once"
