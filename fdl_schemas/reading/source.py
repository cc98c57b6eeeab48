"""From a file to a document: its bytes are checked before any parser sees them.

The file is untrusted: it may be an image, 10 MB long, a pipe that never ends, or a folder. `composer` parses
the text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fdl_schemas.diagnostics.diagnostic import Diagnostic, FdlError, quoted
from fdl_schemas.reading.composer import compose
from fdl_schemas.reading.document import Document, lines_of
from fdl_schemas.reading.similar_files import similar_file

MAX_BYTES: Final = 1024 * 1024


def read(path: str | Path) -> Document:
    """Reads and parses one file.

    Raises:
        FdlError: the file cannot be read, is not text, not YAML, empty or too large, or uses YAML in a way
        that FDL does not allow.
    """
    return parse(_read_bytes(path), str(path))


def parse(content: bytes, file: str) -> Document:
    """Parses the content of a file; `file` is its name in diagnostics. Raises FdlError as `read` does."""
    if len(content) > MAX_BYTES:
        problem = Diagnostic(
            "FDL003",
            f"the file is larger than {MAX_BYTES:,} bytes",
            file,
            expected=f"at most {MAX_BYTES:,} bytes",
            help="split the workflow into several FDL files",
        )
        raise FdlError([problem])
    return compose(_decode(content, file), file)


def _read_bytes(path: str | Path) -> bytes:
    file = str(path)
    reason: str
    try:
        target = Path(path)
        if target.exists() and not target.is_file():
            # A pipe or a device would block or never end.
            reason = "it is a folder" if target.is_dir() else "it is not a regular file"
            inside = _fdl_file_in(target) if target.is_dir() else None
            advice = f"did you mean {quoted(inside, 200)}?" if inside else "give the path of an FDL file"
        else:
            with target.open("rb") as stream:
                return stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        similar = similar_file(target)
        reason = "it does not exist"
        advice = (
            f"did you mean {quoted(str(similar), 200)}?"
            if similar
            else "check the path; it is relative to the current folder"
        )
    except PermissionError:
        reason, advice = "permission denied", "give yourself permission to read the file"
    except (OSError, ValueError, RuntimeError) as error:
        # RuntimeError: a loop of symbolic links. ValueError: a NUL byte in the path.
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        reason, advice = reason[:1].lower() + reason[1:], "check the path"
    raise FdlError([Diagnostic("FDL001", f"cannot read the file: {reason}", file, help=advice)])


def _fdl_file_in(folder: Path) -> str | None:
    try:
        return next((str(path) for path in sorted(folder.glob("*.y*ml"))[:1]), None)
    except OSError:
        return None


def _decode(content: bytes, file: str) -> str:
    advice = "save the file as UTF-8 text"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FdlError(
            [Diagnostic("FDL002", "the file is UTF-16, not UTF-8", file, expected="UTF-8 text", help=advice)]
        )
    if b"\0" in content:
        message = "the file is binary, not text"
        advice = "give the path of an FDL file"
        raise FdlError([Diagnostic("FDL002", message, file, expected="UTF-8 text", help=advice)])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        lines = lines_of(before)
        rest = content[error.start : error.start + 200].decode("utf-8", "replace")
        problem = Diagnostic(
            "FDL002",
            f"the file is not UTF-8: byte 0x{content[error.start]:02x} is invalid here",
            file,
            len(lines),
            len(lines[-1]) + 1,
            source_line=lines[-1] + lines_of(rest)[0],
            expected="UTF-8 text",
            help=advice,
        )
        raise FdlError([problem]) from None
