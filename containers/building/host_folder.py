"""A folder of the host as files of an image, placed from `/`.

Executable files stay executable, and all users may read all files: AWS Lambda runs containers as an
unprivileged user. Links stay links and are resolved inside the image; no link is followed on the host.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from containers.building.errors import BuildError
from containers.building.host_files import add_libraries
from containers.building.layer_files import FileEntry, LayerFiles

SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin"
"""`PATH` of images."""

_RESERVED = ".scar"
_WHITEOUT = ".wh."
_MOUNTED = ("dev", "proc", "sys")
"""Filled when a container starts."""
_LIBRARY_FOLDERS = ("usr/lib", "usr/lib64", "lib", "lib64")
_MAXIMUM_LINKS = 40
_LONGEST_SHEBANG = 256


def folder_layer(folder: Path, below: Sequence[LayerFiles]) -> LayerFiles:
    """The files below `folder`, and the shared libraries that its programs need from the host.

    Args:
        folder: Its files become those of the image, from `/`.
        below: The layers below this one.

    Raises:
        BuildError: A file cannot be in an image, or needs something that the image does not have.
        HostFilesError: A shared library is missing on the host.
    """
    base = merged(below)
    layer = LayerFiles()
    files = [(_place(base, path), file) for path, file in _walk(folder)]
    for path, file in files:
        _add(layer, path, file, folder, base)
    libraries = LayerFiles()
    own = folder.resolve()
    search = [own / name for name in _library_folders(own)]
    add_libraries(
        libraries,
        [file for _, file in files if file.is_file() and not file.is_symlink()],
        own=own,
        search=search,
    )
    for path, entry in libraries.without(LayerFiles(dict(base))).entries.items():
        layer.entries.setdefault(path, entry)
    whole = merged([*below, layer])
    for path, file in files:
        _check(path, file, whole)
    return layer


def merged(layers: Sequence[LayerFiles]) -> dict[str, FileEntry]:
    """Every path of an image, folders included."""
    return {path: entry for layer in layers for path, entry in layer.with_parents().items()}


def resolved(entries: Mapping[str, FileEntry], path: str) -> str | None:
    """The path with links followed as inside the image, or None if it does not exist there."""
    waiting = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    done: list[str] = []
    links = 0
    while waiting:
        part = waiting.pop()
        if part == "..":
            done = done[:-1]
            continue
        here = "/".join([*done, part])
        entry = entries.get(here)
        if entry is None:
            return here if done[:1] and done[0] in _MOUNTED else None
        if entry.link_to is None:
            done.append(part)
            continue
        links += 1
        if links > _MAXIMUM_LINKS:
            return None
        if entry.link_to.startswith("/"):
            done = []
        waiting += [one for one in reversed(entry.link_to.split("/")) if one not in ("", ".")]
    return "/".join(done)


def find_program(entries: Mapping[str, FileEntry], name: str, search_path: str = SEARCH_PATH) -> str | None:
    """The path of a program in the image, by its path or by its name, or None."""
    candidates = [name] if "/" in name else [f"{folder}/{name}" for folder in search_path.split(":")]
    return next((found for one in candidates if (found := resolved(entries, one))), None)


def _place(base: Mapping[str, FileEntry], path: PurePosixPath) -> str:
    """Where a path of the folder is in the image: `/bin` and `/lib` are links to folders below `/usr`.

    A folder `bin` in a layer would replace the link, and with it the shell.
    """
    first = base.get(path.parts[0])
    if first is None or first.link_to is None or len(path.parts) == 1:
        return str(path)
    return str(PurePosixPath(first.link_to, *path.parts[1:]))


def _walk(folder: Path) -> Iterator[tuple[PurePosixPath, Path]]:
    """Every path below the folder, and the file that it is; links are not followed."""
    waiting = [PurePosixPath()]
    while waiting:
        below = waiting.pop()
        try:
            names = sorted(os.listdir(folder / below))  # noqa: PTH208 - names as they are
        except OSError as error:
            raise BuildError(
                f"the folder {_shown(folder / below)} cannot be read: {error.strerror}", _READABLE
            ) from error
        for name in names:
            path, file = below / name, folder / below / name
            _check_name(path, file)
            yield path, file
            if file.is_dir() and not file.is_symlink():
                waiting.append(path)


_READABLE = "Make it readable, or remove it from the folder"


def _check_name(path: PurePosixPath, file: Path) -> None:
    name = path.name
    # Stops a name that moves a terminal's cursor or forges a line of a log.
    if not name.isprintable():
        raise BuildError(
            f"the name of {_shown(file)} has characters that are not printable UTF-8", "Rename the file"
        )
    # Stops a file from deleting one of a lower layer (OCI image specification 1.1, layer.md, Whiteouts).
    if name.startswith(_WHITEOUT):
        raise BuildError(
            f"{_shown(file)}: names that start with '{_WHITEOUT}' delete files in images", "Rename the file"
        )
    if path.parts[0] == _RESERVED:
        raise BuildError(f"{_shown(file)}: the folder /{_RESERVED} is reserved for the runner", "Rename it")


def _add(layer: LayerFiles, path: str, file: Path, folder: Path, base: Mapping[str, FileEntry]) -> None:
    try:
        mode = file.lstat().st_mode
        in_base = base.get(path)
        if stat.S_ISLNK(mode):
            target = _target(file, folder, moved=path != file.relative_to(folder).as_posix())
            if in_base is None or in_base.link_to != target:
                _expect_no_folder(in_base, path, file)
            layer.add_link(path, target)
        elif stat.S_ISDIR(mode):
            if in_base is not None and not in_base.is_folder and in_base.link_to is None:
                raise BuildError(
                    f"{_shown(file)} is a folder, but /{path} is a file in the base system", "Rename it"
                )
            if in_base is None or in_base.is_folder:
                layer.add_folder(path, in_base.mode if in_base else 0o755)
        elif stat.S_ISREG(mode):
            _expect_no_folder(in_base, path, file)
            with file.open("rb"):
                layer.add_file(path, file)
        else:
            raise BuildError(
                f"{_shown(file)} is neither a file, a folder nor a link", "Remove it from the folder"
            )
    except OSError as error:
        raise BuildError(f"{_shown(file)} cannot be read: {error.strerror}", _READABLE) from error


def _target(file: Path, folder: Path, moved: bool) -> str:
    """Where a link leads to inside the image; absolute if the link is elsewhere than in the folder."""
    target = str(file.readlink())
    parent = file.parent.relative_to(folder).as_posix()
    # Stops a link from looking like one to a file of the host, which the image does not have.
    inside = posixpath.normpath(posixpath.join(parent, target))
    if inside == ".." or inside.startswith("../"):
        raise BuildError(
            f"the link {_shown(file)} points outside the folder", "Copy the file into the folder"
        )
    return f"/{inside}" if moved and not target.startswith("/") else target


def _expect_no_folder(entry: FileEntry | None, path: str, file: Path) -> None:
    if entry is not None and (entry.is_folder or (entry.link_to or "").startswith("usr/")):
        raise BuildError(f"{_shown(file)} would replace the folder /{path} of the base system", "Rename it")


def _check(path: str, file: Path, whole: Mapping[str, FileEntry]) -> None:
    entry = whole[path]
    if entry.link_to is not None and resolved(whole, path) is None:
        raise BuildError(
            f"the link {_shown(file)} leads to {entry.link_to}, which is not in the image",
            "Copy the file into the folder",
        )
    if entry.source is not None and entry.mode & 0o111:
        _check_interpreter(file, whole)


def _check_interpreter(file: Path, whole: Mapping[str, FileEntry]) -> None:
    with file.open("rb") as stream:
        line = stream.readline(_LONGEST_SHEBANG)
    if not line.startswith(b"#!"):
        return
    words = line[2:].decode(errors="replace").split()
    if words and PurePosixPath(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if words and find_program(whole, words[0]) is None:
        python = PurePosixPath(words[0]).name.startswith("python")
        raise BuildError(
            f"the script {_shown(file)} needs {words[0]}, which is not in the image",
            "Add --python, and start the script with '#!/usr/bin/env python3'"
            if python
            else "Put the program into the folder, for example in usr/bin",
        )


def _library_folders(folder: Path) -> Iterator[str]:
    for name in _LIBRARY_FOLDERS:
        yield name
        for inner in sorted((folder / name).glob("*-linux-gnu")):
            yield f"{name}/{inner.name}"


def _shown(file: Path) -> str:
    return str(file).encode(errors="backslashreplace").decode()
