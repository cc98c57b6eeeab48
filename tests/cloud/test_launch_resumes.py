"""A launch that is killed, interrupted or refused goes on, and sends each file once.

Against two calls of AWS on loopback (`tests/loopback_aws.py`), with `scar-launch` as a process of its own.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scar_cli.launch.journal import read
from tests.cloud.embedded import ended, until
from tests.loopback_aws import FDL, LoopbackAws, running

pytestmark = pytest.mark.cloud


@dataclass
class Launcher:
    """`scar-launch` against the loopback AWS, with a state folder of its own."""

    aws: LoopbackAws
    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: str, largest_file: int | None = None) -> subprocess.Popen[str]:
        state = {"XDG_STATE_HOME": str(self.folder), **self.aws.environment()}
        ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}

        code = "from scar_cli.commands.launch import main; main()"
        if largest_file is not None:
            limits = (largest_file, largest_file)
            code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, {limits}); {code}"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**ours, **state},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, largest_file: int | None = None) -> tuple[int, str, str]:
        process = self.start(*arguments, largest_file=largest_file)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    def new(self, *arguments: str) -> list[str]:
        fdl = self.folder / "fan.yaml"
        fdl.write_text(FDL)
        return ["-f", str(fdl), *arguments]

    @property
    def journal(self) -> Path:
        (path,) = (self.folder / "scar-cdk" / "launches").iterdir()
        return path

    @property
    def keys(self) -> list[str]:
        return [self.aws.key(number) for number in range(self.aws.count)]


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    with running(LoopbackAws()) as aws:
        launcher = Launcher(aws, tmp_path)
        with ended(launcher.started):
            yield launcher


def resumed_lines(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_text().splitlines() if line.startswith('{"resumed"')]


def kill_at(process: subprocess.Popen[str], last: int, call: int) -> None:
    """Kill the launch when its call arrives that is the last one, or a later one."""
    if call >= last:
        process.kill()


def test_killed_four_times_at_any_moment_each_file_arrives(launcher: Launcher) -> None:
    aws = launcher.aws
    aws.count, aws.delay_s = 400, 0.02
    arguments = launcher.new("--concurrency", "8", "--json")
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(4):
        last = aws.calls + chance.randint(1, 60)
        process = launcher.start(*arguments)
        aws.trouble = partial(kill_at, process, last)
        process.communicate(timeout=60)
        arguments = ["--resume", str(launcher.journal), "--concurrency", "8", "--json"]
    killed = len(aws.received)
    aws.trouble = lambda _call: None
    code, output, errors = launcher.run(*arguments)
    assert code == 0, errors
    assert killed < aws.count, "the last launch had something left to do"
    times = Counter(aws.received)
    assert sorted(times) == launcher.keys
    told = Counter(key for line in resumed_lines(launcher.journal) for _number, key in line["perhaps_twice"])
    for key, count in times.items():
        assert count <= 1 + told[key], f"{key} was sent {count} times"
    assert len(resumed_lines(launcher.journal)) == 4
    answer = json.loads(output)
    assert answer["accepted"] == aws.count
    assert read(launcher.journal).finished


def test_the_end_of_a_launch_names_what_was_perhaps_sent_twice(launcher: Launcher) -> None:
    aws = launcher.aws
    aws.count, aws.first_trouble = 40, ["close"]
    aws.trouble = lambda call: "cut" if call % 10 == 1 else None
    code, output, errors = launcher.run(*launcher.new("--json", "--concurrency", "2"))
    assert code == 0, errors
    answer = json.loads(output)
    doubled = {key for key, times in Counter(aws.received).items() if times > 1}
    assert len(doubled) >= 4
    assert set(answer["perhaps_twice"]) == doubled | {aws.key(0)}  # the first one's answer was lost, too
    assert answer["perhaps_twice_count"] == len(answer["perhaps_twice"])
    code, output, errors = launcher.run("--resume", str(launcher.journal))
    assert code == 0, errors
    (said,) = [line for line in output.splitlines() if line.startswith("Possibly sent twice: ")]
    assert f"{len(doubled) + 1} events, whose responses were lost: in/000000" in said


def test_a_finished_launch_has_nothing_left(launcher: Launcher) -> None:
    launcher.aws.count = 5
    assert launcher.run(*launcher.new())[0] == 0
    code, output, _errors = launcher.run("--resume", str(launcher.journal))
    assert (code, len(launcher.aws.received)) == (0, 5)
    assert "Nothing left to send: fan already received 5 events." in output


def test_ctrl_c_says_how_to_go_on_and_what_was_on_its_way_is_not_sent_twice(launcher: Launcher) -> None:
    aws = launcher.aws
    aws.count, aws.delay_s = 300, 0.05
    process = launcher.start(*launcher.new("--concurrency", "4", "--rate", "6000/min"))
    until(lambda: len(aws.received), lambda count: count > 20)
    process.send_signal(signal.SIGINT)
    _output, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"To resume: scar-launch --resume {launcher.journal} --concurrency 4 --rate 6000/min" in errors
    assert "Traceback" not in errors
    aws.delay_s = 0
    code, output, errors = launcher.run("--resume", str(launcher.journal), "--limit", "300", "--json")
    assert code == 2
    assert "was started without --limit, not with --limit 300" in errors
    code, output, errors = launcher.run("--resume", str(launcher.journal), "--json")
    assert code == 0, errors
    assert sorted(aws.received) == launcher.keys
    assert json.loads(output)["sent"] < 300


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("ExpiredTokenException", "The AWS credentials have expired"),
        ("AccessDeniedException", "Invoke is not allowed: AccessDeniedException it is"),
        ("ResourceNotFoundException", "The function fan is not deployed"),
    ],
)
def test_what_would_go_on_failing_ends_the_launch_at_once(
    launcher: Launcher, trouble: str, said: str
) -> None:
    aws = launcher.aws
    aws.count = 200
    aws.trouble = lambda call: trouble if call > 30 else None
    code, _output, errors = launcher.run(*launcher.new("--concurrency", "4"))
    assert code == 1
    assert said in errors
    assert f"Accepted so far: 31 events. To resume: scar-launch --resume {launcher.journal}" in errors
    assert "Traceback" not in errors
    assert aws.calls <= 34
    aws.trouble = lambda _call: None
    assert launcher.run("--resume", str(launcher.journal))[0] == 0
    assert sorted(aws.received) == launcher.keys


def test_credentials_that_expire_while_files_are_listed_end_it_too(launcher: Launcher) -> None:
    aws = launcher.aws
    aws.count, aws.refuse_listing_after = 2500, aws.key(1500)
    code, _output, errors = launcher.run(*launcher.new())
    assert code == 1
    assert "The AWS credentials have expired" in errors
    aws.refuse_listing_after = None
    assert launcher.run("--resume", str(launcher.journal))[0] == 0
    assert sorted(aws.received) == launcher.keys


def test_nothing_is_sent_that_cannot_be_noted(launcher: Launcher) -> None:
    aws = launcher.aws
    aws.count = 2000
    code, _output, errors = launcher.run(*launcher.new(), largest_file=20_000)
    assert code == 1
    assert f"The journal {launcher.journal} cannot be written: file too large. Free some space" in errors
    assert f"To resume: scar-launch --resume {launcher.journal}" in errors
    before = len(aws.received)
    assert 0 < before < aws.count
    accepted = read(launcher.journal).accepted
    assert launcher.run("--resume", str(launcher.journal))[0] == 0
    assert sorted(set(aws.received)) == launcher.keys
    assert len(aws.received) - aws.count <= before - accepted <= 32, "only those on their way, and noted so"


def test_a_limit_holds_over_interruptions(launcher: Launcher) -> None:
    aws = launcher.aws
    aws.count, aws.trouble = 100, lambda call: "ExpiredTokenException" if call > 20 else None
    assert launcher.run(*launcher.new("--limit", "50", "--concurrency", "2"))[0] == 1
    aws.trouble = lambda _call: None
    code, output, errors = launcher.run("--resume", str(launcher.journal), "--json")
    assert code == 0, errors
    assert sorted(aws.received) == launcher.keys[:50]
    assert json.loads(output)["accepted"] == 50


def test_a_journal_of_something_else_is_refused(launcher: Launcher) -> None:
    launcher.aws.count = 3
    arguments = launcher.new("--match", "*.txt")
    assert launcher.run(*arguments)[0] == 0
    journal = str(launcher.journal)
    fdl = Path(arguments[1])
    for changed, said in (
        (["--match", "*.jpg"], r"with --match *.txt, not with --match *.jpg"),
        (["-n", "other"], "with --name fan, not with --name other"),
        (["--bucket-path", "bucket/in/deep"], "without --bucket-path"),
    ):
        code, _output, errors = launcher.run("--resume", journal, *changed)
        assert (code, said in errors) == (2, True), errors
    fdl.write_text(FDL.replace("bucket/in", "bucket/other"))
    code, _output, errors = launcher.run("--resume", journal)
    assert code == 2
    assert 'for other folders: [["bucket", "in/"]] instead of [["bucket", "other/"]]' in errors
    code, _output, errors = launcher.run("--resume", str(fdl))
    assert code == 2
    assert "is not a journal of scar-launch" in errors


def test_files_that_are_deleted_meanwhile_are_left_out(launcher: Launcher) -> None:
    aws = launcher.aws
    aws.count, aws.trouble = 40, lambda call: "ExpiredTokenException" if call > 20 else None
    assert launcher.run(*launcher.new("--concurrency", "1"))[0] == 1
    aws.trouble, aws.count = (lambda _call: None), 21  # the one that was refused is gone
    code, output, _errors = launcher.run("--resume", str(launcher.journal), "--json")
    answer = json.loads(output)
    assert code == 0
    assert answer["left_out"] == {"gone": 1}
    assert sorted(aws.received) == launcher.keys
    assert (answer["sent"], answer["accepted"]) == (0, 21)
