"""A workflow of 300 functions against one of 60: the time must grow in proportion.

- `synthesis_ms_per_function`: a synthesis, as a process
- `deployment_ms_per_function`: `scar init` on the embedded cloud, synthesis included

After the deployment, three functions run, `scar ls` lists all of them, ten are removed, and `scar rm` deletes
the rest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measure import Comparison, UnavailableError, milliseconds
from local_cloud.cloud import Cloud
from tests import examples
from tests.cloud.embedded import SCAR, CloudUnderTest
from tests.cloud.scar_command import Scar, registry

_TIMES = int(os.environ.get("SCAR_BENCH_TIMES", "5"))
_FEW, _MANY = 60, 300
_IN_A_BUCKET = 75
"""More than 100 would notify through EventBridge, which needs more resources."""
_LONGEST_S = 120.0
_FUNCTION = """\
  - lambda:
      name: f{number}
      init_script: copy.sh
      container: {{image: "busybox:1.37"}}
      input: [{{storage_provider: s3, path: many-{bucket}/in{number}}}]
      output: [{{storage_provider: s3, path: many-out/{number}}}]
"""
_SCRIPT = '#!/bin/sh\ncp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/copied"\n'


def compare() -> Iterator[Comparison]:
    """Compare the time for each function."""
    found: dict[int, list[float]] = {_FEW: [], _MANY: []}
    for _ in range(max(1, _TIMES // 2)):
        for count, durations in found.items():
            durations.append(_synthesis(count) / count)
    yield Comparison.of_medians("synthesis_ms_per_function", found[_MANY], found[_FEW])
    if not examples.busybox_layers():
        print("many_functions: deployments are skipped; they need busybox-static")
        return
    few, many = (_deployment(count) / count for count in (_FEW, _MANY))
    yield Comparison.of("deployment_ms_per_function", many, few)


def _write(folder: Path, numbers: Sequence[int]) -> Path:
    file = folder / "many.yaml"
    functions = [_FUNCTION.format(number=number, bucket=number // _IN_A_BUCKET) for number in numbers]
    file.write_text("functions:\n  aws:\n" + "".join(functions))
    (folder / "copy.sh").write_text(_SCRIPT)
    return file


def _synthesis(count: int) -> float:
    """Milliseconds of a synthesis of this many functions."""
    with tempfile.TemporaryDirectory(prefix="scar-bench-") as name:
        file = _write(Path(name), range(count))
        environment = {
            **os.environ,
            "CDK_OUTDIR": f"{name}/cdk.out",
            "CDK_CONTEXT_JSON": f'{{"fdl": "{file}"}}',
        }
        command = [sys.executable, "-m", "scar_constructs.app"]
        return milliseconds(lambda: subprocess.run(command, env=environment, check=True, capture_output=True))


def _deployment(count: int) -> float:
    """Milliseconds of the first deployment of this many functions, which are then used, changed and deleted.

    Raises:
        UnavailableError: something is missing afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="scar-bench-") as name:
        folder = Path(name)
        embedded = Cloud(folder / "cloud")
        scar = Scar(CloudUnderTest(embedded, embedded.start(tied=True)))
        mirror = registry(folder)

        def init(numbers: Sequence[int]) -> None:
            words = ["init", "-f", str(_write(folder, numbers)), "-c", mirror, "-y"]
            subprocess.run([*SCAR, *words], env=scar.environment(), check=True, capture_output=True)

        try:
            duration = milliseconds(lambda: init(range(count)))
            _expect(len(scar.json("ls")["Functions"]) == count, "scar ls shows every function")
            used = (0, count // 2, count - 1)
            for number in used:
                scar.put(f"many-{number // _IN_A_BUCKET}", f"in{number}/file", b"content")
            until = time.monotonic() + _LONGEST_S
            while not (done := all(scar.keys("many-out", f"{number}") for number in used)):
                if time.monotonic() > until:
                    break
                time.sleep(0.5)
            _expect(done, "functions of all parts run")
            init([number for number in range(count) if number % (count // 10)])
            _expect(len(scar.json("ls")["Functions"]) == count - 10, "ten functions are removed")
            scar("rm", "-f", str(folder / "many.yaml"), "-y")
            _expect(scar.json("ls")["Functions"] == [], "scar rm deletes all functions")
        finally:
            embedded.stop()
        return duration


def _expect(met: object, what: str) -> None:
    if not met:
        raise UnavailableError(f"expected that {what}")
