"""The results of the frames, with the expected labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_DETECTION = re.compile(r"^(?P<label>[^:\n]+): (?P<percent>\d{1,3})%$", re.MULTILINE)
_NUMBER = re.compile(r"(\d+)$")


class Detection(NamedTuple):
    """A detected object and its confidence."""

    label: str
    percent: int


@dataclass(frozen=True, slots=True)
class FrameResult:
    """One image's result."""

    name: str
    """Without extension: `out001`."""
    second: int
    """Of the video, from 0."""
    detections: tuple[Detection, ...]
    expected: frozenset[str]
    picture: Path

    @property
    def seen(self) -> frozenset[str]:
        """Labels that were detected."""
        return frozenset(detection.label for detection in self.detections)

    @property
    def verdict(self) -> str:
        """`right`, `missed` (a label was not detected) or `wrong` (a detected label is not in the frame)."""
        if self.seen == self.expected:
            return "right"
        return "wrong" if self.seen - self.expected else "missed"


@dataclass(frozen=True, slots=True)
class Recall:
    """Number of frames that show a label, in how many of them it was detected, and in how many others."""

    label: str
    there: int
    seen: int
    imagined: int


def read_results(folder: Path, truth: Callable[[int], frozenset[str]]) -> list[FrameResult]:
    """The results in a folder, in the order of the video: each a `.out` text and a picture beside it."""
    found = []
    for text in sorted(folder.glob("*.out")):
        number = _NUMBER.search(text.stem)
        picture = next((path for end in (".png", ".jpg") if (path := text.with_suffix(end)).exists()), None)
        if number is None or picture is None:
            continue
        second = int(number[1]) - 1  # ffmpeg counts images from 1
        found.append(FrameResult(text.stem, second, parse_detections(_read(text)), truth(second), picture))
    return sorted(found, key=lambda result: result.second)


def parse_detections(text: str) -> tuple[Detection, ...]:
    """The `label: NN%` lines of darknet's output."""
    return tuple(Detection(m["label"].strip(), int(m["percent"])) for m in _DETECTION.finditer(text))


def recalls(frames: Iterable[FrameResult]) -> list[Recall]:
    """For each expected label, how often it was detected."""
    frames = list(frames)
    return [
        Recall(
            label,
            there=sum(label in frame.expected for frame in frames),
            seen=sum(label in frame.expected & frame.seen for frame in frames),
            imagined=sum(label in frame.seen - frame.expected for frame in frames),
        )
        for label in sorted(frozenset().union(*(frame.expected for frame in frames)), reverse=True)
    ]


def _read(text: Path) -> str:
    return text.read_text(encoding="utf-8", errors="replace")
