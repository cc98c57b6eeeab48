"""The rules about files that an FDL file names: they exist, are readable, and fit into a package."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fdl_schemas.build import FunctionEntry
from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.payload import is_cdk_output
from fdl_schemas.reading.findings import Findings
from fdl_schemas.reading.similar_files import similar_file

MAX_PAYLOAD_BYTES: Final = 250_000_000
"""AWS Lambda allows 262 144 000 bytes for the function and its layers, unpacked; the runner's layer has about
10 million (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""
MAX_PAYLOAD_FILES: Final = 200_000
"""With more, the folder is probably not the one that was meant."""

_RELATIVE: Final = "correct the path, which is relative to the FDL file, or create the file"
_INLINE: Final = (
    "is not a path",
    "the path of a file",
    "save the text in a file, and write the path of that file here",
)
_TOO_LARGE: Final = "let the script download large files, use a file system, or put them into the image"


@dataclass(frozen=True, slots=True)
class _Problem:
    what: str
    expected: str | None = None
    """None: a file at that place."""
    advice: str = _RELATIVE


def check_files(entry: FunctionEntry, findings: Findings) -> None:
    """Checks the files that one entry of `functions.aws` names."""
    function = entry.function
    files: tuple[tuple[str, Path | None, tuple[str, ...], bool], ...] = (
        ("init_script", function.init_script, ("lambda", "init_script"), False),
        ("run_script", function.run.run_script, ("lambda", "run_script"), False),
        ("image_file", function.container.image_file, ("lambda", "container", "image_file"), False),
        ("extra_payload", function.extra_payload, ("lambda", "extra_payload"), True),
    )
    for key, file, steps, is_payload in files:
        if file is None or not findings.is_first_mention("FDL022", f"{file} {is_payload}"):
            continue
        problem = (
            (_Problem(*_INLINE) if "\n" in str(file) else None)
            or _file_problem(file, entry.folder, folder_will_do=is_payload)
            or (_payload_problem(file, entry.folder) if is_payload else None)
        )
        if problem is not None:
            findings.error(
                "FDL022",
                f"`{key}` {quoted(entry.get(*steps))} {problem.what}",
                entry.at(*steps),
                expected=problem.expected
                or f"a file{' or folder' if is_payload else ''} at {quoted(str(file), 200)}",
                help=problem.advice,
            )
        elif (real := os.path.realpath(file)) and not _is_below(real, os.path.realpath(entry.folder)):
            # Stops a stranger's FDL file from silently packaging a private file of the person who deploys it.
            leads = "" if real == os.path.normpath(file) else f", at {quoted(real, 200)}"
            findings.warning(
                "FDL056",
                f"`{key}` {quoted(entry.get(*steps))} is outside the FDL file's folder{leads}",
                entry.at(*steps),
                help="make sure that you want to package and upload this file",
            )


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _file_problem(file: Path, folder: Path, *, folder_will_do: bool) -> _Problem | None:
    try:
        if not file.exists():
            similar = similar_file(Path(str(file).replace("\\", "/")))
            return _Problem("does not exist", advice=_did_you_mean(similar, folder) if similar else _RELATIVE)
        if file.is_file() or (folder_will_do and file.is_dir()):
            return (
                None
                if os.access(file, os.R_OK)
                else _Problem("cannot be read", "a file that you have permission to read")
            )
        return _Problem("is a folder" if file.is_dir() else "is not a regular file")
    except (OSError, ValueError, RuntimeError):
        # Too long, a loop of links, a NUL byte, a folder without permission.
        return _Problem("cannot be looked up")


def _did_you_mean(similar: Path, folder: Path) -> str:
    shown = similar.relative_to(folder) if similar.is_relative_to(folder) else similar
    return f"did you mean {quoted(str(shown), 200)}?"


def _payload_problem(payload: Path, fdl_folder: Path) -> _Problem | None:
    size = 0
    for number, found in enumerate(_regular_files(payload, fdl_folder)):
        if isinstance(found, _Problem):
            return found
        size += found
        if size > MAX_PAYLOAD_BYTES:
            expected = (
                f"at most {MAX_PAYLOAD_BYTES // 1_000_000} MB without compression, a limit of AWS Lambda"
            )
            return _Problem("is too large for a function's package", expected, _TOO_LARGE)
        if number >= MAX_PAYLOAD_FILES:
            return _Problem("has too many files", f"at most {MAX_PAYLOAD_FILES:,} files", _TOO_LARGE)
    return None


def _regular_files(payload: Path, fdl_folder: Path) -> Iterator[int | _Problem]:
    """The size of each file of a payload, or what is wrong with one, with links followed."""
    allowed = os.path.realpath(payload), os.path.realpath(fdl_folder)
    status = payload.stat()
    if not stat.S_ISDIR(status.st_mode):
        yield status.st_size
        return
    waiting: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(payload, ((status.st_dev, status.st_ino),))]
    while waiting:
        folder, above = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            yield _unusable(payload, folder, "a folder that cannot be read")
            return
        for entry in entries:
            path = folder / entry.name
            try:
                status = entry.stat()
            except OSError:
                yield _unusable(
                    payload, path, "a broken link" if entry.is_symlink() else "which cannot be read"
                )
                return
            # Stops a stranger's payload from taking a private file along, such as `~/.aws/credentials`.
            if entry.is_symlink() and not any(_is_below(os.path.realpath(path), one) for one in allowed):
                yield _unusable(payload, path, "a link that points outside the FDL file's folder")
                return
            if stat.S_ISDIR(status.st_mode):
                identity = (status.st_dev, status.st_ino)
                if identity in above:
                    yield _unusable(payload, path, "a link to a folder that contains it")
                    return
                if not is_cdk_output(path):
                    waiting.append((path, (*above, identity)))
            elif not stat.S_ISREG(status.st_mode):
                yield _unusable(payload, path, "neither a file nor a folder")
            elif not os.access(path, os.R_OK):
                yield _unusable(payload, path, "a file that cannot be read")
            else:
                yield status.st_size


def _unusable(payload: Path, path: Path, what: str) -> _Problem:
    return _Problem(
        f"contains {quoted(str(path.relative_to(payload)), 200)}, {what}",
        "a folder of readable files",
        "remove it, or use another folder",
    )
