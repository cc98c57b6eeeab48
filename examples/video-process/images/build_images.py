"""Build two container images without a registry: `grycap/ffmpeg` and `grycap/darknet`, as OCI image layouts.

    host files (shell, Python, libraries)    ┐
    wheels (static ffmpeg, numpy, OpenCV)    ├─► one layer each ─► OCI image layouts below build/images/
    detector/ (our darknet)                  ┘

They have the names of images on Docker Hub, so that the FDL file does not have to change, but different
content (see README.md). The same inputs give the same digests. An image whose inputs have not changed is not
rebuilt.

To build only the images: `python examples/video-process/images/build_images.py [FOLDER]`.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from containers import building
from containers.building.bytecode import with_bytecode
from containers.building.errors import BuildError
from containers.building.host_files import add_libraries, add_python, base_system
from containers.building.layer_files import LayerFiles
from containers.building.layout import ImageSettings, write_layout
from images.wheels import WheelError, fetch_wheels

_HERE = Path(__file__).resolve().parent
_BUILD = _HERE.parents[2] / "build"
_PATH = "/usr/local/bin:/usr/bin:/bin"
_DARKNET = "opt/darknet"
_NOT_OF_A_WHEEL = {"tests", "testing", "f2py", "include", "distutils"}


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image in its folder."""

    name: str
    folder: Path
    size: int
    """Bytes of its blobs."""
    reused: bool
    """An existing image with the same inputs was used."""


def build_images(folder: Path, wheels: Path, log: Callable[[str], None]) -> list[BuiltImage]:
    """Build both images below `folder`, unless they already exist.

    Raises:
        WheelError: A wheel cannot be downloaded.
        BuildError: This machine lacks a program or library.
    """
    unpacked = fetch_wheels(_HERE / "requirements.txt", wheels)
    base = base_system()
    return [
        _build(folder, "grycap/ffmpeg", [base, _ffmpeg(base, unpacked)], log),
        _build(folder, "grycap/darknet", [base, *_darknet(base, unpacked)], log),
    ]


def ffmpeg_program(wheels: Path) -> Path:
    """The static ffmpeg of the wheel, for use on this machine."""
    return _ffmpeg_of(fetch_wheels(_HERE / "requirements.txt", wheels))


def _ffmpeg_of(wheels: Mapping[str, Path]) -> Path:
    program = next((wheels["imageio_ffmpeg"] / "imageio_ffmpeg" / "binaries").glob("ffmpeg-linux*"))
    program.chmod(0o755)
    return program


def _ffmpeg(base: LayerFiles, wheels: Mapping[str, Path]) -> LayerFiles:
    root = LayerFiles()
    root.add_file("usr/bin/ffmpeg", _ffmpeg_of(wheels), 0o755)
    return root.without(base)


def _darknet(base: LayerFiles, wheels: Mapping[str, Path]) -> list[LayerFiles]:
    """Two layers: Python with its packages, which rarely change, and the detector."""
    packages, detector = LayerFiles(), LayerFiles()
    python = add_python(packages)
    for name in ("numpy", "opencv_python_headless"):
        packages.add_tree(f"{_DARKNET}/lib", wheels[name], _is_of_a_wheel)
        add_libraries(packages, _extensions(wheels[name]), own=wheels[name])
    program = f"#!{python} -ISB\n{(_HERE / 'detector' / 'darknet.py').read_text(encoding='utf-8')}"
    detector.add_content(f"{_DARKNET}/darknet", program, 0o755)
    detector.add_file(f"{_DARKNET}/cfg/yolo.cfg", _HERE / "detector" / "yolo.cfg", 0o644)
    cascades = wheels["opencv_python_headless"] / "cv2" / "data"
    detector.add_content(f"{_DARKNET}/yolo.weights", _zip(sorted(cascades.glob("haarcascade_frontal*.xml"))))
    return [packages.without(base), detector]


def _is_of_a_wheel(path: PurePosixPath) -> bool:
    if path.parts[0].endswith(".dist-info"):
        return "licen" in str(path).lower()  # redistributed packages keep their license
    return _NOT_OF_A_WHEEL.isdisjoint(path.parts) and path.suffix not in {".pyi", ".a", ".xml"}


def _extensions(wheel: Path) -> list[Path]:
    """The extension modules: they contain the path to the wheel's own libraries; the libraries do not."""
    return sorted(file for file in wheel.rglob("*.so") if not file.parent.name.endswith(".libs"))


def _zip(files: Sequence[Path]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _build(folder: Path, name: str, layers: Sequence[LayerFiles], log: Callable[[str], None]) -> BuiltImage:
    target, note = folder / name, folder / ".inputs" / name
    inputs = "\n".join([*(layer.fingerprint() for layer in layers), _program_fingerprint()])
    reused = target.is_dir() and note.is_file() and note.read_text() == inputs
    if not reused:
        log(f"building {name}")
        note.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        settings = ImageSettings({"PATH": _PATH, "LANG": "C.UTF-8"}, ["/bin/sh"])
        with tempfile.TemporaryDirectory() as scratch:
            write_layout(target, _compiled(layers, Path(scratch)), settings)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(inputs)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    return BuiltImage(name, target, size, reused)


def _compiled(layers: Sequence[LayerFiles], scratch: Path) -> list[LayerFiles]:
    whole = []
    for number, layer in enumerate(layers):
        (scratch / str(number)).mkdir()
        whole.append(with_bytecode(layer, scratch / str(number)))
    return whole


def _program_fingerprint() -> str:
    """Changes with the sources of this program, so that images of older versions are rebuilt."""
    sources = [*sorted(_HERE.rglob("*.py")), *sorted(Path(building.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()


def main(arguments: Sequence[str]) -> int:
    """Build both images and print their paths; returns the exit code."""
    folder = Path(arguments[0]).absolute() if arguments else _BUILD / "images"
    try:
        for image in build_images(folder, _BUILD / "wheels", print):
            state = "unchanged" if image.reused else "built"
            print(f"{state}: {image.folder} ({image.size / 1e6:.0f} MB compressed)")
    except (WheelError, BuildError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
