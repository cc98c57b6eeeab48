"""A copy of the tree to break: the working tree itself is never changed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import Mutant

_ONE_TEST_S = 90
_TO_CLEAN_UP_S = 20
_LINKED = (".venv",)
_PASSED, _FAILED, _USAGE = 0, 1, 4  # exit codes of pytest


@dataclass(frozen=True)
class Outcome:
    """What the tests said."""

    verdict: str
    """`caught`, `survived`, or `unclear`: there was no answer in time, or the tests could not run."""
    noticed_by: tuple[str, ...] = ()
    """The test that failed; more if it has several parts."""
    problem: str = ""
    """Why it is unclear."""


class TreeCopy:
    """A copy of all files of the tree that git does not ignore, with the environment of the original."""

    def __init__(self, root: Path, folder: Path, time_limit_s: float) -> None:
        self._root = root
        self._folder = folder
        self._time_limit_s = time_limit_s
        self._environment = {**os.environ, "PYTHONPATH": str(folder)}
        self._changes = 0
        self._sound: set[str] = set()
        """Tests that pass without a mutant."""
        self.broken: set[str] = set()
        """Tests that fail without one. They are left out."""
        if folder.exists():
            shutil.rmtree(folder)
        listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        for name in subprocess.run(listing, cwd=root, capture_output=True, check=True).stdout.split(b"\0"):
            source = root / os.fsdecode(name)
            if name and source.is_file():
                target = folder / os.fsdecode(name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        for path in [root / name for name in _LINKED] + list((root / "build").glob("*")):
            target = folder / path.relative_to(root)
            if path.exists() and not folder.is_relative_to(path):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(path)

    def foreign_packages(self) -> list[str]:
        """Packages that would be imported from elsewhere than the copy. With any, nothing would be tested."""
        names = sorted(path.parent.name for path in self._folder.glob("*/__init__.py"))
        code = f"import importlib.util as u; [print(n, u.find_spec(n).origin) for n in {names}]"
        told = subprocess.run(
            [sys.executable, "-c", code],
            cwd="/",
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return [line for line in told.stdout.splitlines() if f" {self._folder}{os.sep}" not in line]

    def judge(self, mutant: Mutant, first: Sequence[str] = ()) -> Outcome:
        """Put a mutant in, run its tests, and take it out again. Tests in `first` run before the others."""
        file, original = self._folder / mutant.file, self._root / mutant.file
        file.write_text(file.read_text().replace(mutant.before, mutant.after))
        # Python tells compiled code of another source by its size and the second of its last change.
        self._changes += 1
        moment = original.stat().st_mtime + self._changes
        os.utime(file, (moment, moment))
        try:
            code, failed, output = self._pytest(*first, *mutant.tests)
            if code == _USAGE and first:  # such a test is no longer there
                code, failed, output = self._pytest(*mutant.tests)
        finally:
            shutil.copy2(original, file)
        if code == _PASSED:
            return Outcome("survived")
        if code != _FAILED or not failed:
            return Outcome("unclear", problem=output)
        # A test that fails anyway has noticed nothing, but another one may.
        broken = {test for test in failed - self._sound if self._pytest(test)[0] != _PASSED}
        self._sound |= failed - broken
        if broken:
            self.broken |= broken
            return self.judge(mutant)
        return Outcome("caught", tuple(sorted(failed)))

    def _pytest(self, *tests: str) -> tuple[int, set[str], str]:
        """Exit code (-1: none in time), names of the tests that failed, and the end of the output."""
        cache = self._folder / ".pytest_cache"
        shutil.rmtree(cache, ignore_errors=True)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--timeout", str(_ONE_TEST_S)]
        command += [*(f"--deselect={test}" for test in sorted(self.broken)), *tests]
        with subprocess.Popen(
            command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            try:
                output, _ = process.communicate(timeout=self._time_limit_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)  # pytest then ends what its fixtures have started
                try:
                    process.communicate(timeout=_TO_CLEAN_UP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                return -1, set(), f"no answer within {self._time_limit_s:g} s"
        failures = cache / "v" / "cache" / "lastfailed"
        failed = set(json.loads(failures.read_text())) if failures.exists() else set[str]()
        return process.returncode, failed, output[-2000:]
