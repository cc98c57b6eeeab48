"""Tars made at random are unpacked as Python's own `tarfile` unpacks them."""

from __future__ import annotations

import io
import random
import stat
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from containers.image.origin import Layer
from containers.layers.unpack import Unpacker
from tests.oci_images import File, directory, hard_link, symlink, tar_of

# Where headers cut names, and on both sides of it.
LENGTHS = (1, 2, 5, 30, 60, 90, 95, 96, 97, 98, 99, 100, 101, 120)
TARGETS = ("x" * 3, "x" * 99, "x" * 100, "x" * 101, "x" * 200, "/etc/passwd", "../a")
SIZES = (0, 1, 100, 511, 512, 513, 2000)


def random_tar(choose: random.Random) -> bytes:
    """Directories, files, links, with names of all lengths."""
    folders, names = [""], set()
    files: list[File] = []
    for _ in range(choose.randrange(1, 25)):
        name = "".join(choose.choices("abü x.-", k=choose.choice(LENGTHS))).strip(" .") or "z"
        folder = choose.choice(folders)
        path = f"{folder}/{name}" if folder else name
        if path in names or len(path.encode()) > 2000:
            continue
        names.add(path)
        regular = [file for file in files if file.kind == tarfile.REGTYPE]
        kind = choose.choice(["directory", "symlink", "hard link", "file", "file", "file"])
        if kind == "directory":
            files.append(directory(path + choose.choice(["", "/"]), choose.choice([0o755, 0o700, 0o777])))
            folders.append(path)
        elif kind == "symlink":
            files.append(symlink(path, choose.choice(TARGETS)))
        elif kind == "hard link" and regular:
            target = choose.choice(regular)
            # tarfile gives the link's attributes to the file.
            files.append(replace(hard_link(path, target.name), mode=target.mode, mtime=target.mtime))
        else:
            content = choose.randbytes(choose.choice(SIZES))
            mode = choose.choice([0o644, 0o755, 0o600])
            files.append(File(path, content, mode, mtime=choose.randrange(2**31)))
    return tar_of(files, choose.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))


def seen(root: Path) -> dict[str, object]:
    """Every path with what can be told of it."""
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        status = path.lstat()
        kind, mode = stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode)
        told: tuple[object, ...] = (kind, mode)
        if path.is_symlink():
            told = (kind, path.readlink())
        elif path.is_file():
            told = (kind, mode, path.read_bytes(), int(status.st_mtime), status.st_nlink)
        found[str(path.relative_to(root))] = told
    return found


@pytest.mark.parametrize("seed", range(30))
def test_random_tars_are_unpacked_as_tarfile_does(tmp_path: Path, seed: int) -> None:
    tar = random_tar(random.Random(seed))
    (tmp_path / "ours").mkdir()
    unpacker = Unpacker(tmp_path / "ours", charge=lambda _: None, what="image test")
    unpacker.finish()  # brings the container's mount points, which no tar here has
    there_anyway = set(seen(tmp_path / "ours"))
    unpacker.apply(Layer(len(tar), lambda: io.BytesIO(tar)))
    unpacker.finish()
    with tarfile.open(fileobj=io.BytesIO(tar)) as reference:
        reference.extractall(tmp_path / "theirs", filter="fully_trusted")
    ours = {name: told for name, told in seen(tmp_path / "ours").items() if name not in there_anyway}
    assert ours == seen(tmp_path / "theirs")
