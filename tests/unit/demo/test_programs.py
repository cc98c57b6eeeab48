from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest
from processes import ProgramError, run_program

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "video-process"

# Makes the pictures where it is told to, and notes its arguments.
FFMPEG = """#!/bin/sh
printf '%s\\n' "$@" > "$NOTES"
for n in $PICTURES; do echo picture > "out$n.jpg"; done
"""


def split(
    tmp_path: Path, name: str, pictures: str
) -> tuple[subprocess.CompletedProcess[str], list[str], Path]:
    programs, output = tmp_path / "bin", tmp_path / "output 100%d"
    programs.mkdir()
    output.mkdir()
    (programs / "ffmpeg").write_text(FFMPEG)
    (programs / "ffmpeg").chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "INPUT_FILE_PATH": f"/input/{name}",
        "TMP_OUTPUT_DIR": str(output),
        "NOTES": str(tmp_path / "notes"),
        "PICTURES": pictures,
    }
    script = ["/bin/sh", str(EXAMPLE / "split-video.sh")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    return done, (tmp_path / "notes").read_text().splitlines(), output


@pytest.mark.parametrize("name", ["seq1.avi", "a b+c.avi", "-rf.avi", "x'\"$(id).avi", "ü 100%.avi"])
def test_video_of_any_name_is_split_one_picture_a_second(tmp_path: Path, name: str) -> None:
    done, arguments, output = split(tmp_path, name, "001 002 003")
    assert done.returncode == 0
    assert "Wrote 3 pictures" in done.stdout
    assert f"file:/input/{name}" in arguments
    assert arguments[arguments.index("-vf") + 1] == "fps=1"
    assert sorted(file.name for file in output.iterdir()) == ["out001.jpg", "out002.jpg", "out003.jpg"]


def test_split_without_a_picture_fails(tmp_path: Path) -> None:
    done, _, _ = split(tmp_path, "empty.avi", "")
    assert done.returncode == 1
    assert "ffmpeg wrote no picture" in done.stderr


def test_scripts_are_executable_and_name_a_shell_that_every_image_has() -> None:
    for name in ("split-video.sh", "yolo-sample-object-detection.sh"):
        assert os.access(EXAMPLE / name, os.X_OK)
        assert (EXAMPLE / name).read_text().startswith("#!/bin/sh\n")


def run(script: str, folder: Path, timeout_s: float = 60) -> list[str]:
    lines: list[str] = []
    run_program(
        ["/bin/sh", "-c", script],
        folder=folder,
        log=folder / "program.log",
        timeout_s=timeout_s,
        on_line=lines.append,
    )
    return lines


def test_program_is_heard_line_by_line_and_logged(tmp_path: Path) -> None:
    assert run("echo one; echo two >&2", tmp_path) == ["one", "two"]
    assert (tmp_path / "program.log").read_text() == "one\ntwo\n"


def test_failed_program_is_reported_with_its_last_lines_and_log(tmp_path: Path) -> None:
    with pytest.raises(ProgramError) as failure:
        run("echo the reason; exit 3", tmp_path)
    assert "failed with exit code 3:\n  the reason\n" in str(failure.value)
    assert str(tmp_path / "program.log") in str(failure.value)


def test_program_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    with pytest.raises(ProgramError, match="did not end within"):
        run("sleep 600 > alive & cat alive", tmp_path, timeout_s=0.2)
    # Reading a pipe that has no writer gives its end at once; while one lives, it would have to wait.
    reader = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(BlockingIOError):
            assert os.read(reader, 1) == b""
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.close(reader)
