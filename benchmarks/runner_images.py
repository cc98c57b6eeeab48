"""The images for measurements of the runner, built once and kept in `build/bench/images`.

| name | content |
|---|---|
| `small` | a shell and some programs of this machine with their libraries, about 5 MB |
| `middle` | Debian 12 with ImageMagick and ffmpeg by debootstrap, about 240 MB; needs root and the network |
| `many_files` | `small` and 50 000 small files |

`SCAR_BENCH_IMAGES=small,many_files` selects images; the default is all of them.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import UnavailableError
from tests import oci_images

NAMES = ("small", "middle", "many_files")
_FOLDER = Path(__file__).resolve().parents[1] / "build" / "bench" / "images"
_PACKAGES = "imagemagick,ffmpeg"


def chosen() -> list[str]:
    """The names of the images to measure."""
    names = [name.strip() for name in os.environ.get("SCAR_BENCH_IMAGES", ",".join(NAMES)).split(",")]
    if unknown := [name for name in names if name not in NAMES]:
        raise SystemExit(f"SCAR_BENCH_IMAGES: {unknown[0]} is none of {', '.join(NAMES)}")
    return names


def layers_of(name: str) -> list[Path]:
    """Gzip-compressed layers. Raises UnavailableError."""
    folder = _FOLDER / name
    if not folder.is_dir():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        temporary = _FOLDER / f".{name}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            _MAKERS[name](temporary)
        except BaseException:
            shutil.rmtree(temporary)
            raise
        temporary.rename(folder)
    return sorted(folder.iterdir())


def push(registry: str, name: str) -> list[str]:
    """Push the image as `bench/NAME:1`; returns the digests of its layers."""
    layers = [path.read_bytes() for path in layers_of(name)]
    diff_ids = [oci_images.digest_of(gzip.decompress(layer)) for layer in layers]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": oci_images.MANIFEST_TYPE,
            "config": oci_images.descriptor(config, oci_images.CONFIG_TYPE),
            "layers": [oci_images.descriptor(layer, oci_images.LAYER_TYPE) for layer in layers],
        }
    ).encode()
    for blob in (config, *layers):
        oci_images.push_blob(registry, f"bench/{name}", blob)
    oci_images.push_manifest(registry, f"bench/{name}", "1", manifest, oci_images.MANIFEST_TYPE)
    return [oci_images.digest_of(layer) for layer in layers]


def _small(folder: Path) -> None:
    (folder / "1.tar.gz").write_bytes(gzip.compress(oci_images.host_shell_layer(), 6, mtime=0))


def _many_files(folder: Path) -> None:
    _small(folder)
    source = random.Random(1)  # the same image each time
    files: list[oci_images.File] = []
    for package in range(500):
        files.append(oci_images.directory(f"srv/package{package}"))
        for number in range(100):
            half = source.randbytes(source.randrange(100, 3000))
            files.append(oci_images.File(f"srv/package{package}/module{number}.py", half + half))
    (folder / "2.tar.gz").write_bytes(gzip.compress(oci_images.tar_of(files), 6, mtime=0))


def _middle(folder: Path) -> None:
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise UnavailableError("the middle image needs debootstrap, and root")
    root = folder / "root"
    print("middle image: debootstrap, a minute or two …", flush=True)
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if made.returncode:
        raise UnavailableError(f"debootstrap ended with {made.returncode}; it needs the network")
    for package in (root / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
    shutil.rmtree(root / "var/lib/apt/lists")
    command = f'tar -C "{root}" --numeric-owner -cf - . | gzip -6n > "{folder}/1.tar.gz"'
    subprocess.run(["sh", "-c", command], check=True)
    shutil.rmtree(root)


_MAKERS: dict[str, Callable[[Path], None]] = {"small": _small, "middle": _middle, "many_files": _many_files}
