"""A first invocation in a process of its own, as in a fresh execution environment: pull, unpack, run.

    python -m benchmarks.runner_process [--whole] IMAGE STORE

With `--whole`, loads everything that the Lambda function loads, including an S3 client, to measure its
memory. Prints the peak memory of the process in KiB.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

COMMAND = ("/bin/sh", "-c", ":")


def main() -> None:
    """Run the invocation."""
    *options, image, store = sys.argv[1:]
    if "--whole" in options:
        os.environ.setdefault("AWS_REGION", "us-east-1")
        importlib.import_module("runtime.handler")
        importlib.import_module("containers.aws").client("s3", "us-east-1")
    from containers.engines import ContainerProcess, choose_engine
    from containers.store import ImageSource, prepare_image

    with prepare_image(ImageSource.registry(image), store=Path(store)) as root:
        result = choose_engine(Path(store)).run(
            ContainerProcess(
                root=root,
                argv=COMMAND,
                env={},
                working_dir="/",
                user="",
                binds={},
                deadline=None,
                on_output=lambda _output: None,
            )
        )
    if result.exit_code != 0:
        raise SystemExit(f"the container ended with {result}")
    print(peak_kib())


def peak_kib() -> str:
    """Peak memory of this process in KiB."""
    # Not getrusage: its maximum counts the process from which this one was forked, too.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(line.split()[1] for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
