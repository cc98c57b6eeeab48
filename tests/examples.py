"""The folders of examples/, and what a registry would give them, made here: tests have no network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from tests import oci_images
from tests.oci_images import File, Image, directory, symlink, tar_of

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLES = REPOSITORY / "examples"
VARIABLES = {
    "LAB_MINIO_ENDPOINT": "https://minio.example.org",
    "LAB_MINIO_ACCESS_KEY": "access-key-of-the-lab",
    "LAB_MINIO_SECRET_KEY": "secret-key-of-the-lab",
    "OFFICE_WEBDAV": "https://dav.example.org",
}
"""What `several-providers` reads from the environment."""


def names() -> list[str]:
    """The folders that hold an FDL file."""
    return sorted({file.parent.name for file in EXAMPLES.glob("*/*.yaml")})


def fdl_of(folder: Path) -> Path:
    """The FDL file of an example."""
    (file,) = folder.glob("*.yaml")
    return file


def copied(name: str, target: Path) -> Path:
    """An example's folder, complete with the archive that its user would make."""
    folder = target / name
    shutil.copytree(EXAMPLES / name, folder)
    if (dockerfile := folder / "image" / "Dockerfile").is_file():
        (archive,) = re.findall(r"--output (\S+)", (folder / "make_image.sh").read_text())
        oci_images.docker_save(folder / archive, built(dockerfile))
    return folder


def built(dockerfile: Path) -> Image:
    """What `docker build` makes of FROM busybox, COPY and ENTRYPOINT."""
    (entrypoint,) = re.findall(r"^ENTRYPOINT (.*)$", dockerfile.read_text(), re.MULTILINE)
    assert re.match(r"FROM busybox:", dockerfile.read_text())
    copies = re.findall(r"^COPY (\S+) /(\S+)$", dockerfile.read_text(), re.MULTILINE)
    parents = sorted({str(parent) for _, target in copies for parent in Path(target).parents} - {"."})
    files = [File(target, (dockerfile.parent / source).read_bytes(), 0o755) for source, target in copies]
    top = tar_of([*map(directory, parents), *files])
    return Image([*busybox_layers(), top], {"Entrypoint": json.loads(entrypoint), "Env": ["PATH=/bin"]})


def busybox_image() -> Image:
    """What `busybox` is on Docker Hub: one static program under all of its names."""
    return Image(busybox_layers(), {"Cmd": ["sh"], "Env": ["PATH=/bin"]})


def busybox_layers() -> list[bytes]:
    """Layers of the image. Empty if this machine has no static busybox."""
    base = oci_images.busybox_layer()
    if base is None:
        return []
    listed = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    return [base, tar_of(symlink(f"bin/{name}", "busybox") for name in listed if name != "busybox")]
