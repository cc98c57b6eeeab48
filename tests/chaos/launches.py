"""Launches (`scar-launch`) that are killed and resumed, beside the workload."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from tests.chaos.workload import Workload

_LAUNCH = [sys.executable, "-c", "from scar_cli.commands.launch import main; main()"]
_TRIES = 20
FUNCTIONS = {"chaos-launched": "launch", "chaos-arrays": "arrays"}
"""Functions that are launched in turn, and their input folders: the second one gets array jobs."""


def name_of(launch: int, file: int) -> str:
    """Of a file."""
    return f"launch-{launch:02}-{file:02}.txt"


def _function(launch: int) -> tuple[str, str]:
    """The function of a launch, and the folder of its files."""
    name, folder = list(FUNCTIONS.items())[launch % len(FUNCTIONS)]
    return name, f"{folder}/{launch:02}"


class Launches:
    """Each launch processes a folder of its own."""

    def __init__(self, workload: Workload, folder: Path, files: int) -> None:
        """`files`: of each launch."""
        self._workload = workload
        self._files = files
        self._folder = folder
        self._threads: list[threading.Thread] = []
        self.wrong: list[str] = []
        """What launches that did not end well have printed."""
        self.anew: set[str] = set()
        """First files of launches that were started again, as there was no journal to resume: the first event
        had failed, or its answer was cut. It is a new launch, so the file may be processed again."""

    def prepare(self, launches: int) -> None:
        """Upload the files of the launches; the function is not yet deployed, so no event is sent."""
        s3 = self._workload.client("s3")
        for number in range(launches):
            _name, folder = _function(number)
            for file in range(self._files):
                s3.put_object(
                    Bucket=self._workload.bucket, Key=f"{folder}/{name_of(number, file)}", Body=b"x"
                )

    def kill_one(self, chance: random.Random) -> None:
        """Start the next launch, kill it after a while, and resume it until it has ended, in a thread."""
        number, after_s = len(self._threads), 0.5 + 2 * chance.random()
        thread = threading.Thread(target=self._launch, args=(number, after_s), daemon=True)
        self._threads.append(thread)
        thread.start()

    def finish(self) -> set[str]:
        """Wait for the end of all launches: the files that they were for."""
        for thread in self._threads:
            thread.join(300)
        return {name_of(number, file) for number in range(len(self._threads)) for file in range(self._files)}

    def _launch(self, number: int, after_s: float) -> None:
        state = self._folder / f"launch-{number:02}"
        state.mkdir()
        name, folder = _function(number)
        new = ["-f", str(self._workload.fdl), "-n", name, "--rate", "20/s"]
        new += ["--bucket-path", f"{self._workload.bucket}/{folder}"]
        with (state / "output.txt").open("w") as output:
            process = self._start(new, state, output)
            time.sleep(after_s)
            process.kill()
            process.wait()
            for _ in range(_TRIES):
                journals = list((state / "scar-cdk" / "launches").glob("*"))
                if not journals:
                    self.anew.add(name_of(number, 0))
                arguments = ["--resume", str(journals[0])] if journals else new
                if self._start(arguments, state, output).wait(300) == 0:
                    return
                time.sleep(1)
        self.wrong.append((state / "output.txt").read_text()[-2000:])

    def _start(self, arguments: list[str], state: Path, output: IO[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*_LAUNCH, *arguments],
            env={**self._workload.environment(), "XDG_STATE_HOME": str(state)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
