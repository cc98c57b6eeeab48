"""The folder of what was fetched: below the virtual environment, or the user's cache outside one."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from toolchain.errors import DownloadError


def fetched(
    name: str,
    lock: Path,
    what: str,
    fetch: Callable[[Path], None],
    check: Callable[[], object] = lambda: None,
) -> Path:
    """The folder of something that `lock` pins; if it is missing, `fetch` fills a new one.

    Args:
        name: Of the folder; a digest of the lock file is added.
        lock: File that pins the versions.
        what: What is fetched, for the message on standard error.
        fetch: Fills an empty folder.
        check: Raises DownloadError if a program that `fetch` needs is missing. It is called first.

    Raises:
        DownloadError: It cannot be fetched, or the folder cannot be written.
    """
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = downloads_folder() / f"{name}-{digest}"
    if folder.is_dir():
        return folder
    check()
    print(f"Fetching {what} (once) …", file=sys.stderr, flush=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
            unfinished = Path(scratch) / "files"
            unfinished.mkdir()
            fetch(unfinished)
            try:
                unfinished.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
    except OSError as error:
        raise DownloadError(f"cannot write {error.filename or folder}: {error.strerror}") from error
    for old in folder.parent.glob(f"{name}-*"):
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)
    return folder


def downloads_folder() -> Path:
    """`share/scar-cdk` of the virtual environment that runs, else `scar-cdk` of the user's cache folder.

    With the environment, what was fetched for it goes too.
    """
    if sys.prefix != sys.base_prefix and os.access(sys.prefix, os.W_OK):
        return Path(sys.prefix) / "share" / "scar-cdk"
    cache = os.environ.get("XDG_CACHE_HOME")  # XDG Base Directory Specification
    return (Path(cache) if cache else Path.home() / ".cache") / "scar-cdk"


def run_download(command: Sequence[str], folder: Path, environment: Mapping[str, str], what: str) -> None:
    """Run a program that downloads, in `folder`.

    Raises:
        DownloadError: It fails; the text holds its last lines.
    """
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        said = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-5:])
        raise DownloadError(f"cannot fetch {what}. Check the network and the proxy settings:\n{said}")
