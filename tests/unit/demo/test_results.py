from __future__ import annotations

from pathlib import Path

from PIL import Image
from results.contact_sheet import draw_contact_sheet
from results.frames import Detection, FrameResult, parse_detections, read_results, recalls

DARKNET = """Loading weights from yolo.weights...Done!
/tmp/scar/run/ab: cd/out005.jpg: Predicted in 0.081 seconds.
person: 87%
sports ball: 100%
"""


def frame(
    second: int, seen: dict[str, int], expected: set[str], folder: Path = Path("results")
) -> FrameResult:
    detections = tuple(Detection(label, percent) for label, percent in seen.items())
    name = f"out{second + 1:03}"
    return FrameResult(name, second, detections, frozenset(expected), folder / f"{name}.png")


def test_darknets_lines_are_read_and_the_others_are_not() -> None:
    assert parse_detections(DARKNET) == (Detection("person", 87), Detection("sports ball", 100))


def test_results_are_read_in_the_order_of_the_video_and_only_with_their_pictures(tmp_path: Path) -> None:
    for name in ("out010", "out002"):
        (tmp_path / f"{name}.out").write_text(DARKNET)
        (tmp_path / f"{name}.png").touch()
    (tmp_path / "out003.out").write_text(DARKNET)
    (tmp_path / "readme.out").write_text(DARKNET)
    (tmp_path / "readme.png").touch()
    found = read_results(tmp_path, lambda second: frozenset({"person"} if second == 1 else ()))
    assert [(result.name, result.second, sorted(result.expected)) for result in found] == [
        ("out002", 1, ["person"]),
        ("out010", 9, []),
    ]


def test_verdicts_and_recalls_tell_missed_from_imagined() -> None:
    frames = [
        frame(0, {"person": 90}, {"person"}),
        frame(1, {}, {"person"}),
        frame(2, {"cat": 60}, set()),
        frame(3, {"cat": 60}, {"cat"}),
    ]
    assert [one.verdict for one in frames] == ["right", "missed", "wrong", "right"]
    assert [(r.label, r.there, r.seen, r.imagined) for r in recalls(frames)] == [
        ("person", 2, 1, 0),
        ("cat", 1, 1, 1),
    ]


def test_contact_sheet_has_room_for_every_frame(tmp_path: Path) -> None:
    frames = [frame(second, {"cat": 70}, {"cat"}, tmp_path) for second in range(19)]
    for one in frames:
        Image.new("RGB", (64, 36), "#00ff00").save(one.picture)
    draw_contact_sheet(frames, tmp_path / "sheet.png", "Title", "Subtitle")
    with Image.open(tmp_path / "sheet.png") as sheet:
        colors = sheet.convert("RGB").getcolors(maxcolors=1 << 24) or []
    (green,) = [count for count, color in colors if color == (0, 255, 0)]
    assert green == 19 * 256 * 144
