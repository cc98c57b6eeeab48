"""A folder that the code under test may write to, and alarms for whatever is written beside it.

Two alarms, since each sees what the other does not: Python's audit events (every file that is opened for
writing, made, linked, renamed or removed), resolved as the kernel would resolve them; and a folder beside
the permitted one whose files are compared afterwards.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OUTSIDE = "@outside@"
"""In names of a case: the absolute path of the folder beside the permitted one."""

_FOLLOWED = frozenset({"os.chmod", "os.utime", "os.truncate"})
_PATHS = {  # event -> (index of a path, index of its dir_fd or -1), for paths that are changed
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.link": ((0, 2), (1, 3)),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, -1),),
    "os.utime": ((0, 3),),
}
_PROCESSES = frozenset({"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class OutsideError(AssertionError):
    """Something beside the permitted folder was touched, or a program started."""


class Sandbox:
    """`work` may be written to while a case runs, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.outside = folder / "outside"
        self.work = folder / "work"
        (self.outside / "folder").mkdir(parents=True)
        (self.outside / "secret").write_bytes(b"secret")
        (self.outside / "folder" / "file").write_bytes(b"file")
        self._before = self._seen()
        self.violations: list[str] = []

    @contextmanager
    def running(self) -> Iterator[Path]:
        """An empty work folder for one case; raises OutsideError at its end."""
        self.work.mkdir()
        self.violations.clear()
        _state.sandbox = self
        try:
            yield self.work
        finally:
            _state.sandbox = None
            shutil.rmtree(os.fsencode(self.work))
        if self.violations:
            raise OutsideError(self.violations[0])
        if self._seen() != self._before:
            raise OutsideError("files beside the permitted folder have changed")

    def _seen(self) -> list[tuple[Any, ...]]:
        seen: list[tuple[Any, ...]] = []
        for path in sorted([self.outside, *self.outside.rglob("*")]):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            seen.append((path, status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns, content))
        return seen

    def judge(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Raise for an event that changes what is beside the work folder."""
        if event in _PROCESSES:
            self._complain(f"a program was started: {arguments!r:.200}")
        elif event == "open":
            path, _, flags = arguments
            if isinstance(path, str | bytes) and isinstance(flags, int) and flags & _WRITING:
                self._require_inside(event, path, -1, follow=not flags & (os.O_NOFOLLOW | os.O_EXCL))
        elif event in _PATHS:
            for path_at, folder_at in _PATHS[event]:
                folder = arguments[folder_at] if folder_at >= 0 else -1
                if isinstance(arguments[path_at], str | bytes | os.PathLike):
                    self._require_inside(event, arguments[path_at], folder, follow=event in _FOLLOWED)

    def _require_inside(self, event: str, path: Any, folder: int, *, follow: bool) -> None:
        name = os.fsdecode(path)
        if folder >= 0 and not name.startswith("/"):
            name = f"/proc/self/fd/{folder}/{name}"
        if not follow:
            head, _, tail = name.rstrip("/").rpartition("/")
            name = os.path.realpath(head or ".") + "/" + tail
        else:
            name = os.path.realpath(name)
        if not (name + "/").startswith(f"{self.work}/"):
            self._complain(f"{event} of {name!a:.200}")

    def _complain(self, text: str) -> None:
        self.violations.append(text)
        raise OutsideError(text)


class _State:
    sandbox: Sandbox | None = None
    hooked = False


_state = _State()


def watch() -> None:
    """Let audit events be judged from now on, in this process (they cannot be switched off again)."""
    if not _state.hooked:
        _state.hooked = True
        sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    sandbox = _state.sandbox
    if sandbox is not None and (event == "open" or event.startswith(("os.", "subprocess."))):
        sandbox.judge(event, arguments)
