"""The results page: one HTML file beside its pictures, opened from the disk. All text is escaped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from watching.figures import FunctionFigures, Invocation, Times
from watching.times_table import seconds

from results.frames import FrameResult, recalls

_STYLE = Path(__file__).with_name("page.css")
_KNOWN = {"person": "person", "cat": "cat"}
"""Labels that have a color; others are shown as text, and never used as a class."""


@dataclass(frozen=True, slots=True)
class Report:
    """Content of the page."""

    title: str
    subtitle: str
    images: int
    results: int
    failures: int
    elapsed_s: float
    """From the upload to the last result."""
    frames: Sequence[FrameResult]
    figures: Sequence[FunctionFigures]
    contact_sheet: Path


def write_page(report: Report, target: Path) -> None:
    """Write the page; links to pictures are relative to its folder."""
    target.write_text(render_page(report, target.parent), encoding="utf-8")


def render_page(report: Report, folder: Path) -> str:
    """The page as HTML."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(report.title)}</title>
<style>
{_STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
<h1>{escape(report.title)}</h1>
<p class="dim">{escape(report.subtitle)}</p>
{_way(report)}
<h2>Detected and expected</h2>
{_recalls(report)}
{_strip(report.frames)}
<h2>Times</h2>
{_times(report.figures)}
{_bars(report)}
<h2>Frames</h2>
<p class="dim">All frames are on <a href="{_link(report.contact_sheet, folder)}">one contact sheet</a>.</p>
<div class="frames">
{"".join(_frame(frame, folder) for frame in report.frames)}</div>
</main>
</body>
</html>
"""


def _way(report: Report) -> str:
    def card(number: object, text: str, kind: str = "") -> str:
        return f'<div class="card {kind}"><b>{escape(str(number))}</b><span>{escape(text)}</span></div>'

    arrow = '<div class="arrow">→</div>'
    whole = "good" if report.images == report.results else "bad"
    return f"""<div class="way">
{card(1, "video")}{arrow}{card(report.images, "images")}{arrow}{card(report.results, "results", whole)}
{card(report.failures, "failures", "bad" if report.failures else "good")}
{card(seconds(report.elapsed_s * 1000), "from upload to the last result")}
</div>"""


def _recalls(report: Report) -> str:
    parts = [
        f"<b>{escape(recall.label)}</b> detected in {recall.seen} of {recall.there} frames"
        + (f", and in {recall.imagined} frames without one" if recall.imagined else "")
        for recall in recalls(report.frames)
    ]
    return f"<p>{'; '.join(parts)}.</p>" if parts else ""


def _strip(frames: Sequence[FrameResult]) -> str:
    labels = sorted(frozenset().union(*(frame.expected | frame.seen for frame in frames)), reverse=True)
    rows = []
    for label in labels:
        for word, sets in (
            (f"{label} expected", [frame.expected for frame in frames]),
            ("detected", [frame.seen for frame in frames]),
        ):
            cells = "".join(
                f'<i class="{_class(label, frame, here)}" title="{escape(frame.name)}"></i>'
                for frame, here in zip(frames, sets, strict=True)
            )
            rows.append(f'<span class="dim">{escape(word)}</span>{cells}')
    return (
        f'<div class="scroll"><div class="strip" style="--frames:{len(frames)}">{"".join(rows)}</div></div>'
    )


def _class(label: str, frame: FrameResult, here: frozenset[str]) -> str:
    if label in here:
        return f"is {_KNOWN.get(label, '')}"
    return "hollow" if here is not frame.expected and label in frame.expected else "none"


def _times(figures: Sequence[FunctionFigures]) -> str:
    def cells(times: Times) -> str:
        if not times.count:
            return '<td class="number dim" colspan="3">none</td>'
        values = (str(times.count), seconds(times.median_ms), seconds(times.max_ms))
        return "".join(f'<td class="number">{escape(value)}</td>' for value in values)

    def stages(function: FunctionFigures) -> str:
        named = [(name, function.stage(name)) for name in ("stage-in", "image", "run", "stage-out")]
        return ", ".join(f"{escape(name)} {seconds(times.median_ms)}" for name, times in named if times.count)

    rows = "".join(
        f"<tr><td>{escape(function.name)}</td><td>{escape(function.where)}</td>"
        f'<td class="number">{function.files}</td><td class="number">{function.failures}</td>'
        f"{cells(function.cold)}{cells(function.warm)}"
        f'<td class="wrap">{stages(function)}</td></tr>'
        for function in figures
    )
    number = 'class="number"'
    return f"""<div class="scroll"><table>
<thead><tr><th>Function</th><th>Runs in</th><th {number}>Files</th><th {number}>Failed runs</th>
<th {number}>Cold</th><th {number}>median</th><th {number}>max</th>
<th {number}>Warm</th><th {number}>median</th><th {number}>max</th><th>Stages (median)</th></tr></thead>
<tbody>{rows}</tbody>
</table></div>"""


def _bars(report: Report) -> str:
    runs = [run for function in report.figures if function.where == "Lambda" for run in function.invocations]
    if not runs:
        return ""
    longest = max(run.duration_ms for run in runs) or 1.0

    def bar(run: Invocation) -> str:
        height = 100 * run.duration_ms / longest
        kind = "cold" if run.cold else "warm"
        title = f"{run.name}: {seconds(run.duration_ms)}, {kind}"
        return f'<i class="{kind}" style="height:{height:.1f}%" title="{escape(title)}"></i>'

    bars = "".join(bar(run) for run in runs)
    return f"""<p class="dim chart">The Lambda invocations, in the order in which they ended;
the longest took {seconds(longest)}.<span class="key cold"></span>cold<span class="key warm"></span>warm</p>
<div class="bars" style="--frames:{len(runs)}">{bars}</div>"""


def _frame(frame: FrameResult, folder: Path) -> str:
    chips = "".join(
        f'<span class="chip {_KNOWN.get(detection.label, "")}">'
        f"{escape(detection.label)} {detection.percent}%</span>"
        for detection in frame.detections
    )
    link = _link(frame.picture, folder)
    verdict = ""
    if frame.verdict != "right":
        missed, imagined = sorted(frame.expected - frame.seen), sorted(frame.seen - frame.expected)
        words = [f"{label} missed" for label in missed] + [f"false {label}" for label in imagined]
        verdict = f'<span class="verdict">{escape(", ".join(words))}</span>'
    time = f"{frame.second // 60}:{frame.second % 60:02}"
    seen = chips or '<span class="dim">nothing</span>'
    return f"""<figure><a href="{link}"><img loading="lazy" src="{link}" alt="{escape(frame.name)}"></a>
<figcaption><span class="time">{time}</span>{seen}{verdict}</figcaption></figure>
"""


def _link(file: Path, folder: Path) -> str:
    return escape(quote(Path(os.path.relpath(file, folder)).as_posix()))
