from __future__ import annotations

from pathlib import Path

import make_video
import pytest
from make_video import SCENES, SECONDS, draw_frame, truth
from PIL import Image


def test_every_second_has_a_truth_and_all_kinds_occur() -> None:
    assert sum(scene.seconds for scene in SCENES) == SECONDS == 68
    truths = [truth(second) for second in range(SECONDS)]
    assert set(truths) == {
        frozenset(),
        frozenset({"person"}),
        frozenset({"cat"}),
        frozenset({"person", "cat"}),
    }
    assert sum("person" in one for one in truths) == 33
    assert sum("cat" in one for one in truths) == 35


def test_truth_changes_where_a_scene_does() -> None:
    assert [sorted(truth(second)) for second in (3, 4, 15, 16, 20, 37, 38, 67)] == [
        [], ["person"], ["person"], [], ["cat"], [], ["cat", "person"], ["person"],
    ]  # fmt: skip


def test_second_after_the_end_has_none() -> None:
    with pytest.raises(ValueError, match="there is no second 68"):
        truth(SECONDS)


def test_same_moment_gives_the_same_frame_and_another_another() -> None:
    photograph = Image.effect_noise((200, 150), 60).convert("RGBA")
    photographs = {one.file: photograph for scene in SCENES for one in scene.photographs}
    first = draw_frame(40.5, photographs)
    assert first.size == (make_video.WIDTH, make_video.HEIGHT)
    assert first.mode == "RGB"
    assert draw_frame(40.5, photographs).tobytes() == first.tobytes()
    assert draw_frame(40.6, photographs).tobytes() != first.tobytes()


def test_failing_encoder_is_reported_and_leaves_no_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tmp_path / "ffmpeg"
    encoder.write_text("#!/bin/sh\ncat > /dev/null\necho no such codec >&2\nexit 1\n")
    encoder.chmod(0o755)
    monkeypatch.setattr(make_video, "SECONDS", 1)
    monkeypatch.setattr(make_video, "_photographs", lambda _: {"rocket.jpg": Image.new("RGBA", (20, 20))})
    with pytest.raises(make_video.VideoError, match="no such codec"):
        make_video.make_video(encoder, tmp_path, tmp_path / "seq1.avi")
    assert not (tmp_path / "seq1.avi").exists()
