"""The contact sheet: every frame of the video with what was detected in it, in the order of the video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from results.frames import FrameResult

COLUMNS = 9
_TILE = (256, 144)
_GAP, _CAPTION, _MARGIN, _TITLE = 14, 26, 36, 84
_BACKGROUND, _TEXT, _DIM = "#0b1020", "#e5e7eb", "#94a3b8"
COLORS = {"person": "#2563eb", "cat": "#db2777"}
"""Colors of the labels, the same as the detector's."""


def draw_contact_sheet(frames: Sequence[FrameResult], target: Path, title: str, subtitle: str) -> None:
    """Draw the frames into a grid and save it as a PNG file."""
    rows = -(-len(frames) // COLUMNS)
    width = 2 * _MARGIN + COLUMNS * _TILE[0] + (COLUMNS - 1) * _GAP
    height = 2 * _MARGIN + _TITLE + rows * (_TILE[1] + _CAPTION) + max(0, rows - 1) * _GAP
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN - 6), title, _TEXT, ImageFont.load_default(38))
    draw.text((_MARGIN, _MARGIN + 42), subtitle, _DIM, ImageFont.load_default(20))
    _legend(draw, width - _MARGIN)
    for place, frame in enumerate(frames):
        left = _MARGIN + (place % COLUMNS) * (_TILE[0] + _GAP)
        top = _MARGIN + _TITLE + (place // COLUMNS) * (_TILE[1] + _CAPTION + _GAP)
        with Image.open(frame.picture) as picture:
            sheet.paste(picture.convert("RGB").resize(_TILE, Image.Resampling.LANCZOS), (left, top))
        _caption(draw, frame, left, top + _TILE[1])
    sheet.save(target, optimize=False)


def _legend(draw: ImageDraw.ImageDraw, right: int) -> None:
    font = ImageFont.load_default(20)
    for label, color in reversed(COLORS.items()):
        right -= round(font.getlength(label))
        draw.text((right, _MARGIN + 42), label, _TEXT, font)
        right -= 24
        draw.rounded_rectangle((right, _MARGIN + 46, right + 14, _MARGIN + 60), 4, fill=color)
        right -= 24


def _caption(draw: ImageDraw.ImageDraw, frame: FrameResult, left: int, top: int) -> None:
    font = ImageFont.load_default(15)
    draw.text((left + 2, top + 5), f"{frame.second // 60}:{frame.second % 60:02}", _DIM, font)
    right = left + _TILE[0]
    for detection in reversed(frame.detections):
        text = f"{detection.label} {detection.percent}%"
        right -= round(font.getlength(text)) + 12
        draw.rounded_rectangle(
            (right, top + 4, right + round(font.getlength(text)) + 12, top + 23),
            6,
            fill=COLORS.get(detection.label, "#475569"),
        )
        draw.text((right + 6, top + 5), text, "white", font)
        right -= 5
    if frame.verdict != "right":
        word = "missed" if frame.verdict == "missed" else "wrong"
        draw.text((left + 42, top + 5), word, "#f59e0b", font)
