"""What a launch says at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scar_cli.aws.failure_queues import reason_of
from scar_cli.errors import UserError
from scar_cli.launch.done import Count
from scar_cli.launch.files import Listing, Selection
from scar_cli.launch.report import Outcome, nothing_to_send
from scar_cli.launch.wait import require_log


class Waited:
    """Ten files, some of which failed."""

    def __init__(self, failures: dict[str, str]) -> None:
        self._failures = failures

    def count(self) -> Count:
        return Count(10, 10 - len(self._failures), len(self._failures))

    def failures(self) -> Iterator[tuple[str, str]]:
        yield from self._failures.items()


def outcome(**failures: str) -> Any:
    return Outcome("f", sent=10, accepted=10, waited=Waited(failures))  # type: ignore[arg-type]


def test_failures_are_a_table_of_one_line_each_without_control_characters() -> None:
    told = list(outcome(a="exit code 3\nlast lines", b="\x1b[31mred" + "x" * 300).told_after_waiting())
    assert told[:3] == ["Done: 8 files. Failed: 2 files.", "FAILED  REASON", "a       exit code 3"]
    assert told[3].startswith(r"b       \x1b[31mredxxx")
    assert told[3].endswith("…")
    assert "scar retry -n f" in told[4]
    assert list(Outcome("f", sent=1).told_after_waiting()) == []


def test_a_reason_of_any_length_is_bounded_everywhere() -> None:
    reason = "\x1b[2J" + "x" * 800_000
    assert max(map(len, outcome(a=reason).told_after_waiting())) < 300
    failed = outcome(a=reason).as_json()["failed"]["a"]
    assert len(failed) < 20_000
    assert "\x1b" not in failed


def test_the_exit_code_tells_of_failures_that_were_waited_for() -> None:
    assert outcome().exit_code == 0
    assert outcome(a="b").exit_code == 1
    assert Outcome("f", sent=3).exit_code == 0
    assert outcome(a="b").as_json()["failed"] == {"a": "b"}


def test_filters_that_take_nothing_are_named() -> None:
    listing = Listing(None, Selection((), (), match="*zzz*"), looked_at=12)
    assert nothing_to_send("f", listing) == "Nothing matches '*zzz*' (12 files looked at)."
    listing = Listing(None, Selection((), (), match="*z*", newer_than="2h"), looked_at=1)
    assert nothing_to_send("f", listing) == "Nothing matches '*z*' and is newer than 2h (1 file looked at)."


def test_what_was_left_out_is_counted() -> None:
    nothing = nothing_to_send("f", Listing(None, Selection((), ())))
    told = list(Outcome("f", left_out={"empty": 1, "done": 2}, journal=Path("/j"), nothing=nothing).told())
    assert told == [
        "There are no files to send in the input folder of f.",
        "Skipped: 1 file of zero bytes, which functions skip.",
        "Skipped: 2 files whose output already exists.",
        "Journal: /j",
    ]


def test_events_that_are_perhaps_sent_twice_are_named_without_control_characters() -> None:
    told = list(Outcome("f", sent=9, perhaps_twice=["in/a\x1b[2J", *"bcdefg"]).told())
    names = r"in/a\x1b[2J, b, c, d, e, ..."
    assert told[1] == f"Possibly sent twice: 7 events, whose responses were lost: {names}"
    told = list(Outcome("f", sent=9, perhaps_twice=["a"]).told())
    assert told[1] == "Possibly sent twice: 1 event, whose response was lost: a"
    assert Outcome("f", perhaps_twice=["a"] * 2000).as_json()["perhaps_twice_count"] == 2000


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"responsePayload": {"errorMessage": "no disk"}}', "no disk"),
        ('{"responsePayload": "text"}', "text"),
        ('{"detail-type": "Batch Job State Change", "detail": {"statusReason": "Essential"}}', "Essential"),
        ('{"detail-type": "Batch Job State Change", "detail": {"container": {"reason": "OOM"}}}', "OOM"),
        ('{"detail-type": "Batch Job State Change", "detail": {}}', None),
        ("[]", None),
        ("nonsense", None),
    ],
)
def test_the_reason_is_read_from_the_failure_queues_message(body: str, reason: str | None) -> None:
    assert reason_of(body) == reason


def test_a_log_level_that_hides_what_is_done_is_refused() -> None:
    require_log("f", "INFO")
    with pytest.raises(UserError, match="and f has ERROR"):
        require_log("f", "ERROR")
