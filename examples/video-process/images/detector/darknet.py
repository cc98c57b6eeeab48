"""darknet's command line over OpenCV's Haar cascades.

    ./darknet detect CFG WEIGHTS IMAGE [-thresh T] [-out PREFIX]

A substitute for https://pjreddie.com/darknet that needs no registry: the same command line, the same lines on
standard output, a picture with boxes in PREFIX.png. It really detects faces of people and of cats, but it is
not YOLO: the boxes are from cascades of Haar features (Viola and Jones, 2001), which detect nothing else. CFG
assigns labels to cascades; WEIGHTS is a ZIP file of the cascades.
"""

from __future__ import annotations

import configparser
import math
import os
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
# Read when OpenCV is loaded. This program does not multiply matrices.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import cv2

_USAGE = "usage: ./darknet detect CFG WEIGHTS IMAGE [-thresh 0..1] [-out PREFIX]"


class DetectorError(Exception):
    """The request cannot be processed; the message explains why."""


@dataclass(frozen=True, slots=True)
class Detector:
    """One cascade and its settings. Lengths are fractions of the picture's height."""

    label: str
    cascade: cv2.CascadeClassifier
    color: tuple[int, int, int]
    scale_factor: float
    min_neighbors: int
    min_height: float
    half_sure_at: float
    """Score of the cascade that counts as 50 %."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A detected object: label, confidence (0..1), and box in pixels."""

    label: str
    confidence: float
    box: tuple[int, int, int, int]
    color: tuple[int, int, int]


def main(arguments: Sequence[str]) -> int:
    """Run darknet's `detect`; returns the exit code."""
    try:
        (cfg, weights, image), options = _parse(arguments)
        _detect(Path(cfg), Path(weights), image, float(options["-thresh"]), options["-out"])
    except (DetectorError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def find(picture: cv2.typing.MatLike, detectors: Sequence[Detector], threshold: float) -> list[Detection]:
    """Objects detected with a confidence of at least `threshold`, the highest confidence first."""
    height = picture.shape[0]
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    seen: list[Detection] = []
    for detector in detectors:
        side = max(1, round(detector.min_height * height))
        boxes, _, scores = detector.cascade.detectMultiScale3(
            grey,
            scaleFactor=detector.scale_factor,
            minNeighbors=detector.min_neighbors,
            minSize=(side, side),
            outputRejectLevels=True,
        )
        for box, score in zip(boxes, scores, strict=True):
            left, top, width, tall = (int(number) for number in box)
            confidence = _confidence(float(score), detector.half_sure_at)
            seen.append(Detection(detector.label, confidence, (left, top, width, tall), detector.color))
    sure = sorted((d for d in seen if d.confidence >= threshold), key=lambda d: -d.confidence)
    return [d for number, d in enumerate(sure) if not any(_same_thing(d, other) for other in sure[:number])]


def _parse(arguments: Sequence[str]) -> tuple[tuple[str, str, str], dict[str, str]]:
    options, positional, rest = {"-thresh": "0.25", "-out": "predictions"}, [], list(arguments)
    while rest:
        word = rest.pop(0)
        if word not in options:
            positional.append(word)
        elif rest:
            options[word] = rest.pop(0)
        else:
            raise DetectorError(f"{word} needs a value. {_USAGE}")
    match positional:
        case ["detect", cfg, weights, image]:
            return (cfg, weights, image), options
    raise DetectorError(_USAGE)


def _detect(cfg: Path, weights: Path, image: str, threshold: float, prefix: str) -> None:
    cv2.setNumThreads(1)  # a function has one processor at most
    detectors = _load(cfg, weights)
    print(f"Loading weights from {weights}...Done!")
    picture = cv2.imread(image, cv2.IMREAD_COLOR)
    if picture is None:
        raise DetectorError(f'Cannot load image "{image}": expected a picture that OpenCV can read.')
    started = time.perf_counter()
    detections = find(picture, detectors, threshold)
    print(f"{image}: Predicted in {time.perf_counter() - started:f} seconds.")
    for detection in detections:
        print(f"{detection.label}: {detection.confidence:.0%}")
        _draw(picture, detection)
    if not cv2.imwrite(f"{prefix}.png", picture):
        raise DetectorError(
            f"Cannot write {prefix}.png. Check that its folder exists, and that the disk is not full."
        )


def _load(cfg: Path, weights: Path) -> list[Detector]:
    settings = configparser.ConfigParser()
    try:
        settings.read_string(cfg.read_text(encoding="utf-8"), str(cfg))
        with zipfile.ZipFile(weights) as archive:
            cascades = {name: archive.read(name).decode() for name in archive.namelist()}
        return [_detector(label, settings[label], cascades) for label in settings.sections()]
    except (OSError, zipfile.BadZipFile, configparser.Error, KeyError) as error:
        raise DetectorError(f"Couldn't open file: {error}") from error


def _detector(label: str, section: configparser.SectionProxy, cascades: dict[str, str]) -> Detector:
    text = cascades[section["cascade"]]
    cascade = cv2.CascadeClassifier()
    storage = cv2.FileStorage(text, cv2.FileStorage_READ | cv2.FileStorage_MEMORY)
    if not cascade.read(storage.getFirstTopLevelNode()):
        raise DetectorError(f"{section['cascade']} is not a valid OpenCV cascade.")
    red, green, blue = (int(part) for part in section["color"].split())
    return Detector(
        label,
        cascade,
        (blue, green, red),
        section.getfloat("scale_factor", 1.1),
        section.getint("min_neighbors", 3),
        section.getfloat("min_height", 0.1),
        section.getfloat("half_sure_at", 1.0),
    )


def _confidence(score: float, half_sure_at: float) -> float:
    """Map a score without upper limit to 0..1: 0 gives 0 %, `half_sure_at` 50 %, twice that 75 %, ..."""
    return 1 - math.pow(2, -max(score, 0) / half_sure_at)


def _same_thing(one: Detection, other: Detection) -> bool:
    """Whether the center of one box is in the other: then both are the same object."""
    return _holds_middle(one.box, other.box) or _holds_middle(other.box, one.box)


def _holds_middle(outer: tuple[int, int, int, int], inner: tuple[int, int, int, int]) -> bool:
    x, y = inner[0] + inner[2] / 2, inner[1] + inner[3] / 2
    return outer[0] <= x <= outer[0] + outer[2] and outer[1] <= y <= outer[1] + outer[3]


def _draw(picture: cv2.typing.MatLike, detection: Detection) -> None:
    left, top, width, height = detection.box
    line = max(2, picture.shape[0] // 140)
    size = picture.shape[0] / 560
    text = f"{detection.label} {detection.confidence:.0%}"
    (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, size, 1)
    foot = max(top, high + below + line)
    cv2.rectangle(picture, (left, top), (left + width, top + height), detection.color, line)
    label_corner = (left + wide + 2 * line, foot - high - below - line)
    cv2.rectangle(picture, (left - line // 2, foot), label_corner, detection.color, cv2.FILLED)
    where = (left + line, foot - below // 2 - line // 2)
    cv2.putText(picture, text, where, cv2.FONT_HERSHEY_DUPLEX, size, (255, 255, 255), 1, cv2.LINE_AA)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
