"""What `scar watch` shows in terminals of different sizes."""

from __future__ import annotations

import io
import re
import time
from dataclasses import replace
from functools import cache

import pytest
from rich.console import Console

from scar_cli.watch.chain import branches
from scar_cli.watch.estimate import Estimate
from scar_cli.watch.state import LaunchNumbers, Queues, Snapshot, State
from scar_cli.watch.view import View, sparkline
from tests.unit.scar_cli.watch.runs_of_a_workflow import NOW_MS, WORKFLOW, failed, function, run

SMALL = """\
video                                                                   02:40:00
1,212 queued  9 running  1,200 done  2 failed  3.0/s  0.36 USD  since 02:30:00
No estimate before runs end.

                                                    FAILURE
WORKFLOW          QUEUED  RUNNING     DONE  FAILED    QUEUE     RATE
video/in
└ split              12+        2        0       0        0    0/min  ▁▁▁▁▁▁▁▁▁▁
  └ video/frames
    └ detect           -        7      600       1        0    1.0/s  ██████████
      ├ video/objects
      │ └ merge    1,200        0      600       1        1    2.0/s  ██████████
      │   └ video/merged
      └ video/thumbs
        └ index        -        0        0       0        0    0/min  ▁▁▁▁▁▁▁▁▁▁
          └ video/index

FAILURES (2)
02:39:29 merge s3://video/objects/\\x1b[2J
         ContainerFailed: Exit code 4
02:38:59 detect s3://video/frames/frame-0041.png
         ContainerFailed: Exit code 3: no picture

Ctrl-C ends. To send the events in failure queues again: scar retry
"""
LARGE = """\
video                                                                                                                     02:40:00
1,212 queued  9 running  1,200 done  2 failed  3.0/s  0.36 USD  since 02:30:00
No estimate before runs end.

                   INPUT    BATCH                            FAILURE
WORKFLOW           QUEUE    QUEUE  RUNNING     DONE  FAILED    QUEUE     RATE       COST
video/in
└ split                -      12+        2        0       0        0    0/min          -  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
  └ video/frames
    └ detect           -        -        7      600       1        0    1.0/s   0.18 USD  ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇█▇▇▇▇▇▇▇▇▇▇▇▇
      ├ video/objects
      │ └ merge    1,200        -        0      600       1        1    2.0/s   0.18 USD  ████████████████████████████████████████
      │   └ video/merged
      └ video/thumbs
        └ index        -        -        0        0       0        0    0/min          -  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
          └ video/index

FAILURES (2)
02:39:29 merge s3://video/objects/\\x1b[2J  ContainerFailed: Exit code 4
02:38:59 detect s3://video/frames/frame-0041.png  ContainerFailed: Exit code 3: no picture

Ctrl-C ends. To send the events in failure queues again: scar retry
"""  # noqa: E501

URL = "http://127.0.0.1:4711/token/"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@cache
def busy() -> Snapshot:
    state = State(WORKFLOW, NOW_MS - 600_000, cost=lambda _run: 0.0003)
    for seconds in range(1, 601):
        state.take(run("detect", seconds_ago=float(seconds)))
        state.take(run("merge", seconds_ago=seconds / 2))
    state.take(
        failed("detect", "s3://video/frames/frame-0041.png", "Exit code 3", 61, "reading\nno picture\n")
    )
    state.take(failed("merge", "s3://video/objects/\x1b[2J", "Exit code 4", 31))
    state.set_queues("split", Queues(batch_waiting=12, batch_running=2, batch_is_least=True))
    state.set_queues("merge", Queues(input_queue=1200, failure_queue=1))
    state.set_running("detect", 7)
    state.is_complete = True
    return state.snapshot(NOW_MS)


def rendered(view: View, width: int, height: int, *, encoding: str = "utf-8", colours: bool = False) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    console = Console(
        file=file,
        width=width,
        height=height,
        force_terminal=True,
        color_system="truecolor" if colours else None,
    )
    console.print(view, end="")
    file.flush()
    return file.buffer.getvalue().decode(encoding)


def lines(width: int, height: int, found: Snapshot | None = None) -> list[str]:
    shown = rendered(View("video", found or busy()), width, height).splitlines()
    return [line.rstrip() for line in shown]


def test_the_view_of_a_small_terminal() -> None:
    assert lines(80, 24) == SMALL.splitlines()


def test_the_view_of_a_large_terminal() -> None:
    assert lines(130, 30) == LARGE.splitlines()


@pytest.mark.parametrize("width", [1, 10, 39, 40, 80, 119, 120, 121, 300])
@pytest.mark.parametrize("height", [1, 2, 7, 10, 24, 60])
def test_the_view_fits_any_terminal(width: int, height: int) -> None:
    shown = lines(width, height)
    assert len(shown) <= height
    assert max(map(len, shown)) <= width


def test_hundreds_of_functions_fit_and_the_busy_ones_are_shown() -> None:
    many = [function(f"f{number:03}", f"b/{number}", f"b/{number + 1}") for number in range(300)]
    state = State(many, NOW_MS)
    state.set_running("f150", 3)
    state.set_queues("f200", Queues(failure_queue=1))
    shown = lines(80, 24, state.snapshot(NOW_MS))
    assert len(shown) <= 24
    assert any("f150" in line for line in shown)
    assert any("f200" in line for line in shown)
    (more,) = [line for line in shown if line.startswith("... and ")]
    assert 280 < int(re.findall(r"\d+", more)[0]) < 300


def test_control_characters_of_names_do_not_reach_the_terminal() -> None:
    assert "\x1b[2J" not in rendered(View("video", busy()), 80, 24)
    assert r"\x1b[2J" in rendered(View("video", busy()), 80, 24)


def test_a_terminal_without_unicode_gets_ascii() -> None:
    shown = rendered(View("video", busy()), 80, 24, encoding="ascii")
    assert "` detect" in shown


def test_failures_are_red() -> None:
    assert "\x1b[31mContainerFailed: Exit code 3" in rendered(View("video", busy()), 80, 24, colours=True)


@pytest.mark.parametrize(
    ("change", "foot"),
    [
        ({}, "Ctrl-C ends. To send the events in failure queues again: scar retry"),
        ({"functions": busy().functions[:1]}, "Ctrl-C ends."),
        ({"is_complete": False}, "Reading logs ..."),
        (
            {"trouble": "AWS is throttling requests. Trying again in 4 s."},
            "AWS is throttling requests. Trying ",
        ),
    ],
)
def test_the_last_line_tells_what_to_do(change: dict[str, object], foot: str) -> None:
    shown = lines(80, 24, replace(busy(), **change))  # type: ignore[arg-type]
    assert shown[-1].startswith(foot)


def test_the_address_of_the_page_is_shown() -> None:
    assert rendered(View("video", busy(), URL), 80, 24).endswith(f"Ctrl-C ends. Page: {URL}\n")


def test_the_progress_of_a_launch() -> None:
    launch = LaunchNumbers("detect", "journal", 2000, 1204, 2, is_sending=False)
    shown = lines(80, 24, replace(busy(), launch=launch, end=Estimate(480.0)))
    assert shown[2] == "Launch ████████████░░░░░░░░░ 60% of 2,000 files. Ends at about 02:48 (in 8 min)."


def test_a_sparkline_has_its_highest_bar_at_the_most_runs() -> None:
    assert sparkline([9, 0, 1, 4, 8], 4) == "▁▂▅█"
    assert sparkline([0, 0], 10) == "▁▁"
    assert sparkline([], 10) == ""


def test_each_function_is_below_the_one_that_writes_its_files() -> None:
    shown = [one.indent + one.label for one in branches(busy().functions)]
    assert shown == [
        "video/in",
        "└ split",
        "  └ video/frames",
        "    └ detect",
        "      ├ video/objects",
        "      │ └ merge",
        "      │   └ video/merged",
        "      └ video/thumbs",
        "        └ index",
        "          └ video/index",
    ]
    without = [one.indent + one.label for one in branches(busy().functions, with_folders=False)]
    assert without == ["split", "└ detect", "  ├ merge", "  └ index"]


def test_loops_and_several_writers_are_shown_once() -> None:
    loop = [function("a", "b/1", "b/2"), function("b", "b/2", "b/1"), function("c", "b/9", "b/2")]
    found = branches(State(loop, 0).snapshot(NOW_MS).functions, with_folders=False)
    assert [one.indent + one.label for one in found] == ["c", "└ b", "  └ a"]
    ring = branches(State(loop[:2], 0).snapshot(NOW_MS).functions, with_folders=False)
    assert [one.indent + one.label for one in ring] == ["a", "└ b"]


def test_a_chain_of_a_thousand_functions_is_shown() -> None:
    many = [function(f"f{number}", f"b/{number}", f"b/{number + 1}") for number in range(1000)]
    found = State(many, 0).snapshot(NOW_MS)
    assert found.end.seconds == 0
    assert branches(found.functions)[-1].label == "b/1000"
