"""`scar` as a person types it, on an embedded cloud: in this process, or as one of its own.

In this process a verb takes a tenth of the time, as boto3 is loaded already. It runs `main()` all the same,
with the words, the environment, the output and the exit code of a command.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from scar_cli.main import main
from tests import examples, oci_images
from tests.cloud.embedded import SCAR, CloudUnderTest


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Scar:
    """The command, in a shell that points at a cloud."""

    cloud: CloudUnderTest
    mirrors: str = ""
    """Where images come from: `-c` of those verbs that deploy."""
    more: Mapping[str, str] = field(default_factory=dict)
    """Variables of the shell."""

    def environment(self) -> dict[str, str]:
        return {**self.cloud.environment(), "SCAR_LOCAL_STATE": "/nonexistent", "NO_COLOR": "1", **self.more}

    def __call__(self, *words: str, code: int | None = 0) -> Said:
        """Run a verb in this process; `code` None: however it ends."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        ended: str | int | None = 0
        with (
            mock.patch.dict(os.environ, self.environment(), clear=True),
            mock.patch.object(sys, "argv", ["scar", *words]),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                main()
            except SystemExit as end:
                ended = end.code
        said = Said(int(ended or 0), _text(out), _text(err))
        return _checked(said, code)

    def process(self, *words: str, code: int | None = 0, answers: str = "") -> Said:
        """Run a verb as a process of its own, for those that start the cdk or ask."""
        done = subprocess.run(
            [*SCAR, *words],
            env=self.environment(),
            input=answers,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        return _checked(Said(done.returncode, done.stdout, done.stderr), code)

    @contextmanager
    def following(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A verb that goes on until it is ended."""
        process = subprocess.Popen(
            [*SCAR, *words], env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self(*words, "-j", code=code).stdout)

    def put(self, bucket: str, key: str, body: bytes) -> None:
        self.cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=body)

    def keys(self, bucket: str, folder: str) -> list[str]:
        listed = self.cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"{folder}/")
        return [entry["Key"] for entry in listed.get("Contents", []) if not entry["Key"].endswith("/")]


def registry(folder: Path) -> str:
    """A registry of the one image `busybox:1.37`, as the value of `-c`."""
    place = folder / "docker.io"
    oci_images.write_layout(place / "library" / "busybox", {"1.37": examples.busybox_image()})
    return f"registry_mirrors=docker.io=file://{place}"


def _text(stream: io.TextIOWrapper) -> str:
    content = stream.buffer
    assert isinstance(content, io.BytesIO)
    return content.getvalue().decode()


def _checked(said: Said, code: int | None) -> Said:
    assert code is None or said.code == code, f"{said.code}\n{said.stdout}\n{said.stderr}"
    assert "Traceback" not in said.stderr
    return said
