"""A video of 68 seconds whose content is known for each second.

Photographs drift, turn and zoom over a generated background: the face of an astronaut (Eileen Collins, NASA,
public domain), of a cat (Chelsea, by Stefan van der Walt, CC0), both, or only things without a face (a cup
of coffee by Rachel Michetti, CC0; a rocket, SpaceX, public domain). They are part of scikit-image's sample
data. Scenes begin and end on whole seconds, so that the content of each second is unambiguous. The same
inputs give the same file.
"""

from __future__ import annotations

import math
import subprocess
from dataclasses import dataclass
from pathlib import Path

from images.wheels import fetch_wheels
from PIL import Image, ImageDraw, ImageFilter, ImageOps

SECONDS = 68
FRAMES_PER_SECOND = 10
WIDTH, HEIGHT = 640, 360
_HERE = Path(__file__).resolve().parent
_COLORS = ("#0f172a", "#1e3a8a", "#0e7490", "#6d28d9", "#9d174d", "#b45309")


class VideoError(Exception):
    """The video cannot be created; the message explains why."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """A picture of the sample data, and the label that a detector should find in it."""

    file: str
    label: str = ""
    crop: tuple[int, int, int, int] | None = None
    tilt: float = 0.0
    """Mean angle in degrees, counterclockwise."""
    width: int = 300
    """In pixels of the video, before zooming."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Some seconds with the same photographs."""

    seconds: int
    photographs: tuple[Photograph, ...] = ()


ASTRONAUT = Photograph("astronaut.png", "person", crop=(40, 0, 472, 400), width=330)
# The cat tilts her head; upright, it is closer to the data that the cascade was trained on.
CAT = Photograph("chelsea.png", "cat", tilt=8, width=290)
COFFEE = Photograph("coffee.png", width=330)
ROCKET = Photograph("rocket.jpg", width=340)
SCENES = (
    Scene(4, (ROCKET,)),
    Scene(12, (ASTRONAUT,)),
    Scene(4),
    Scene(14, (CAT,)),
    Scene(4, (COFFEE,)),
    Scene(16, (ASTRONAUT, CAT)),
    Scene(4, (ROCKET, COFFEE)),
    Scene(5, (CAT,)),
    Scene(5, (ASTRONAUT,)),
)


def truth(second: int) -> frozenset[str]:
    """Labels that a second of the video shows, counted from 0: `person`, `cat`, both or none."""
    return frozenset(photograph.label for photograph in _scene(second).photographs if photograph.label)


def make_video(ffmpeg: Path, wheels: Path, target: Path) -> None:
    """Draw the frames and encode them into `target` with `ffmpeg`; an existing file is kept.

    Raises:
        VideoError: ffmpeg fails.
        WheelError: The photographs cannot be downloaded.
    """
    if target.exists():
        return
    photographs = _photographs(wheels)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"unfinished-{target.name}")
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FRAMES_PER_SECOND)]
    # One thread and "bitexact": the file depends neither on the processors nor on the encoder's version.
    exact = ["-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    codec = ["-c:v", "mpeg4", "-q:v", "3", "-g", str(FRAMES_PER_SECOND)]
    command = [
        str(ffmpeg),
        "-v",
        "error",
        "-nostdin",
        "-y",
        *raw,
        "-i",
        "pipe:0",
        *codec,
        *exact,
        str(unfinished),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stderr  # noqa: S101 - for the type checker: both are pipes
        try:
            for number in range(SECONDS * FRAMES_PER_SECOND):
                process.stdin.write(draw_frame(number / FRAMES_PER_SECOND, photographs).tobytes())
            process.stdin.close()
        except BrokenPipeError:
            pass  # ffmpeg wrote the reason to its standard error
        except BaseException:
            process.kill()
            raise
        reason = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise VideoError(f"ffmpeg could not encode {target.name}: {reason or process.returncode}")
    unfinished.rename(target)


def draw_frame(time_s: float, photographs: dict[str, Image.Image]) -> Image.Image:
    """Draw the frame at a time of the video."""
    frame = _background(time_s)
    shown = _scene(int(time_s)).photographs
    for place, photograph in enumerate(shown):
        middle = WIDTH * (place + 0.5) / len(shown)
        zoom, sway = (0.92, 90) if len(shown) == 1 else (0.84, 12)
        movement = _Movement(middle, sway, zoom, photograph.tilt)
        _lay(frame, photographs[photograph.file], movement, time_s + 2.3 * place)
    return frame


def _scene(second: int) -> Scene:
    end = 0
    for scene in SCENES:
        end += scene.seconds
        if second < end:
            return scene
    raise ValueError(f"the video has {end} seconds, numbered from 0: there is no second {second}")


def _photographs(wheels: Path) -> dict[str, Image.Image]:
    """Load the photographs. They do not depend on the machine: one pinned wheel serves all."""
    platform = ["--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"]
    data = fetch_wheels(_HERE / "pictures.txt", wheels, platform)["scikit_image"] / "skimage" / "data"
    pictures = {}
    for photograph in {photograph for scene in SCENES for photograph in scene.photographs}:
        with Image.open(data / photograph.file) as file:
            picture = file.convert("RGB").crop(photograph.crop) if photograph.crop else file.convert("RGB")
        height = round(picture.height * photograph.width / picture.width)
        picture = picture.resize((photograph.width, height), Image.Resampling.LANCZOS)
        print_of_it = ImageOps.expand(picture, 5, "white").convert("RGBA")
        # The transparent border makes the edges of a rotated print smooth.
        pictures[photograph.file] = ImageOps.expand(print_of_it, 2, (255, 255, 255, 0))
    return pictures


def _background(time_s: float) -> Image.Image:
    """Moving, blurred circles of color: without edges, nothing can be mistaken for a face."""
    small = Image.new("RGB", (WIDTH // 8, HEIGHT // 8), _COLORS[0])
    draw = ImageDraw.Draw(small)
    for number, color in enumerate(_COLORS[1:]):
        x = small.width * (0.5 + 0.5 * math.sin(time_s / (5 + number) + 1.9 * number))
        y = small.height * (0.5 + 0.5 * math.cos(time_s / (7 - number / 2) + 2.6 * number))
        draw.ellipse((x - 15, y - 15, x + 15, y + 15), fill=color)
    return small.filter(ImageFilter.GaussianBlur(9)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


@dataclass(frozen=True, slots=True)
class _Movement:
    """Center and extent of a print's movement."""

    middle: float
    sway: int
    zoom: float
    tilt: float


def _lay(frame: Image.Image, picture: Image.Image, movement: _Movement, time_s: float) -> None:
    """Draw a photograph on the frame, as a print that drifts, swings and zooms."""
    zoom = movement.zoom + 0.07 * math.sin(time_s / 2.1)
    angle = movement.tilt + 2 * math.sin(time_s / 1.7)
    x = movement.middle + movement.sway * math.sin(time_s / 2.9)
    y = HEIGHT / 2 + 14 * math.cos(time_s / 1.3)
    size = (round(picture.width * zoom), round(picture.height * zoom))
    turned = picture.resize(size, Image.Resampling.BICUBIC).rotate(
        angle, Image.Resampling.BICUBIC, expand=True
    )
    corner = (round(x - turned.width / 2), round(y - turned.height / 2))
    shadow = Image.new("RGBA", turned.size, (0, 0, 0, 110))
    frame.paste(
        shadow, (corner[0] + 6, corner[1] + 8), turned.getchannel("A").point(lambda a: a * 110 // 255)
    )
    frame.paste(turned, corner, turned)
