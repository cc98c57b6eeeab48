"""The pinned CDK CLI, run as a person runs it, against an embedded cloud."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CDK = REPOSITORY / ".venv" / "bin" / "cdk"


@dataclass(frozen=True)
class CdkResult:
    """How a run of the cdk ended, and what it said."""

    returncode: int
    stdout_and_stderr: str


@dataclass(frozen=True)
class Cdk:
    """`cdk VERB -c fdl=FILE …` with the environment that `scar local env` gives and a cdk.out of its own."""

    environment: dict[str, str]
    output: Path

    def __call__(
        self, verb: str, fdl: Path, *arguments: str, check: bool = True, **context: str
    ) -> CdkResult:
        command = [str(CDK), verb, "-c", f"fdl={fdl}", "--output", str(self.output), *arguments]
        for key, value in context.items():
            command += ["-c", f"{key}={value}"]
        if verb == "deploy":
            command += ["--require-approval", "never"]
        if verb == "destroy":
            command += ["--force"]
        done = subprocess.run(  # its messages go to standard error, and some to standard output
            command,
            cwd=REPOSITORY,
            env={**os.environ, "NO_COLOR": "1", **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"cdk {verb} ended with {done.returncode}\n{done.stdout}"
        return CdkResult(done.returncode, done.stdout)
