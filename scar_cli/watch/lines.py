"""Snapshots as text and JSON: for output that is not a terminal, and for the summary at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from scar_cli.table import iso_time, printable, table
from scar_cli.watch.state import Failure, FunctionNumbers, Snapshot, per_second

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_MILLION = 1_000_000
_REASONS_SHOWN = 10
_FAILURES_IN_A_LINE = 10
_CENT = 0.005


def number_text(number: int | None) -> str:
    """`1,204`, `12.3M`; `-` if there is no such number."""
    if number is None:
        return "-"
    return f"{number:,}" if number < _MILLION else f"{number / _MILLION:.1f}M"


def rate_text(per_s: float) -> str:
    """`5.2/s` or `12/min`."""
    if per_s >= 1:
        return f"{per_s:,.1f}/s" if per_s < 10 else f"{per_s:,.0f}/s"  # noqa: PLR2004 (digits)
    return f"{per_s * _MINUTE_S:.0f}/min"


def cost_text(usd: float | None) -> str:
    """`0.42 USD`; `-` if it is unknown."""
    if usd is None:
        return "-"
    return f"{usd:,.2f} USD" if usd >= _CENT or not usd else "<0.01 USD"


def end_text(found: Snapshot) -> str:
    """When everything will be done."""
    if found.is_idle:
        return "Nothing is waiting or running."
    if found.end.seconds is None:
        return "No estimate before runs end."
    at = datetime.fromtimestamp(found.now_ms / 1000 + found.end.seconds).astimezone()
    far = f"{at:%Y-%m-%d %H:%M}" if found.end.seconds >= _DAY_S else f"{at:%H:%M}"
    if found.end.is_least:
        return f"Ends after {far} (in more than {_duration(found.end.seconds)})."
    return f"Ends at about {far} (in {_duration(found.end.seconds)})."


def _duration(seconds: float) -> str:
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.1f} h" if seconds < 2 * _DAY_S else f"{seconds / _DAY_S:.1f} days"


def text_lines(found: Snapshot, earlier: Snapshot | None) -> Iterator[str]:
    """One line with all numbers, after one for each failure since the earlier snapshot, up to a limit."""
    fresh, missed = new_failures(found, earlier)
    if len(fresh) > _FAILURES_IN_A_LINE:
        missed += len(fresh) - _FAILURES_IN_A_LINE
        fresh = fresh[-_FAILURES_IN_A_LINE:]
    if missed:
        yield f"... and {missed:,} more failures"
    for one in fresh:
        moment = f"{_moment(one.at_ms)}  failed: {printable(one.function)}"
        yield f"{moment}  {printable(one.subject)}  {printable(one.explained)}"
    functions = found.functions
    words = [
        _moment(found.now_ms),
        f"{number_text(_sum(one.queued for one in functions))} queued",
        f"{number_text(_sum(one.running for one in functions))} running",
        f"{number_text(_sum(one.done for one in functions))} done",
        f"{number_text(_sum(one.failed for one in functions))} failed",
        f"{number_text(_sum(one.queues.failure_queue for one in functions))} in failure queues",
        rate_text(sum(per_second(one.history) for one in functions)),
    ]
    if found.cost_usd is not None:
        words.append(cost_text(found.cost_usd))
    if found.launch is not None:
        words.append(f"launch: {found.launch.done:,} of {found.launch.files:,} done")
    yield "  ".join([*words, found.trouble or end_text(found)])


def new_failures(found: Snapshot, earlier: Snapshot | None) -> tuple[Sequence[Failure], int]:
    """The failures since an earlier snapshot, and the number of those that are not kept."""
    number = found.all_failures - (earlier.all_failures if earlier is not None else 0)
    kept = found.failures[len(found.failures) - min(number, len(found.failures)) :]
    return kept, number - len(kept)


def json_object(found: Snapshot, earlier: Snapshot | None) -> dict[str, Any]:
    """A snapshot for programs, with the failures since the earlier one."""
    failures, missed = new_failures(found, earlier)
    answer: dict[str, Any] = {
        "time": iso_time(found.now_ms),
        "since": iso_time(found.since_ms),
        "functions": [_function(one) for one in found.functions],
        "failures": [
            {
                "time": iso_time(one.at_ms),
                "function": one.function,
                "file": one.subject,
                "reason": one.reason,
                "last_line": one.last_line,
            }
            for one in failures
        ],
        "failures_left_out": missed,
        "cost_usd": found.cost_usd,
        "seconds_left": None if found.end.seconds is None else round(found.end.seconds, 1),
        "seconds_left_is_least": found.end.is_least,
        "is_complete": found.is_complete,
        "trouble": found.trouble or None,
    }
    if (launch := found.launch) is not None:
        answer["launch"] = {
            "journal": launch.journal,
            "function": launch.function,
            "files": launch.files,
            "done": launch.done,
            "failed": launch.failed,
            "left": launch.left,
            "is_sending": launch.is_sending,
        }
    return answer


def _function(one: FunctionNumbers) -> dict[str, Any]:
    return {
        "function": one.function,
        "mode": one.mode,
        "queued": one.queued,
        "input_queue": one.queues.input_queue,
        "batch_queue": one.queues.batch_waiting,
        "batch_queue_is_least": one.queues.batch_is_least,
        "running": one.running,
        "done": one.done,
        "failed": one.failed,
        "skipped": one.skipped,
        "failure_queue": one.queues.failure_queue,
        "per_second": round(per_second(one.history), 3),
        "cost_usd": one.cost_usd,
    }


def summary_lines(found: Snapshot) -> Iterator[str]:
    """The numbers of all functions and the most frequent reasons of failures, for the end."""
    head = ("FUNCTION", "QUEUED", "RUNNING", "DONE", "FAILED", "FAILURE QUEUE", "COST")
    rows = [
        (
            one.function,
            "?" if one.queued is None else number_text(one.queued),
            number_text(one.running),
            number_text(one.done),
            number_text(one.failed),
            number_text(one.queues.failure_queue),
            cost_text(one.cost_usd),
        )
        for one in found.functions
    ]
    known = len(head) if found.cost_usd is not None else len(head) - 1
    yield from table(head[:known], [row[:known] for row in rows])
    if found.reasons:
        yield ""
        shown = found.reasons[:_REASONS_SHOWN]
        rows_of_reasons = [(function, f"{count:,}", reason) for function, reason, count in shown]
        if rest := found.reasons[_REASONS_SHOWN:]:
            left = sum(count for _function, _reason, count in rest)
            rows_of_reasons.append(("", f"{left:,}", f"({len(rest)} other reasons)"))
        yield from table(("FUNCTION", "FAILED", "REASON"), rows_of_reasons)
    if (launch := found.launch) is not None:
        yield ""
        yield (
            f"Launch: {launch.done:,} of {launch.files:,} files done, {launch.failed:,} failed, "
            f"{launch.left:,} left"
        )


def _sum(numbers: Iterator[int | None]) -> int | None:
    known = [one for one in numbers if one is not None]
    return sum(known) if known else None


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}"
