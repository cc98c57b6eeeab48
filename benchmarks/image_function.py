"""An image function under AWS's Lambda Runtime Interface Emulator: the runner against a bare handler.

Both are in the same assembled image, with the same interpreter. The bare handler only starts `/bin/true` and
waits for it, as the runner does for its script.

- `image_init_ms`: the first invocation, which starts the runtime
- `image_warm_ms`: one invocation after the first; the difference may be 5 ms
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Comparison
from containers.assembly import TargetRepository, Wanted, assemble, this_runner
from tests.contract.images import contract_images
from tests.oci_images import write_layout
from tests.registry_server import REGISTRY_PROGRAM, real_registry
from tests.runtime_interface_emulator import EMULATOR, emulated, unpack

_TIMES = int(os.environ.get("SCAR_BENCH_TIMES", "5"))
_WARM = 100
_BARE = """
import os, sys
sys.path.insert(0, "/tmp")
with open("/tmp/bare.py", "w") as file:
    file.write(
        "import subprocess\\n"
        "def handle(event, context):\\n"
        "    return {'exit_code': subprocess.run(['/bin/true']).returncode}\\n"
    )
from awslambdaric import bootstrap
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient
bootstrap.run("bare.handle", LambdaRuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"], False))
"""
_VARIABLES = {
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
}


def compare() -> Iterator[Comparison]:
    """Compare the first and later invocations, in turns."""
    missing = [tool for tool in ("skopeo", "umoci", "bwrap") if shutil.which(tool) is None]
    if REGISTRY_PROGRAM is None or missing or not EMULATOR.is_file():
        print("image_function: skipped; needs docker-registry, skopeo, umoci, bubblewrap and AWS's emulator")
        return
    with tempfile.TemporaryDirectory(prefix="scar-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        bundle, config = _unpacked(folder)
        entry_point: list[str] = config["Entrypoint"]
        bare = [*entry_point[: entry_point.index("-m")], "-c", _BARE]
        script = {"cmd_args": ["/bin/true"]}
        init: dict[bool, list[float]] = {True: [], False: []}
        warm: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(_TIMES):
            for ours, command in ((True, None), (False, bare)):
                first, later = _measure(bundle, config, folder / "log", command, script)
                init[ours].append(first)
                warm[ours] += later
        for benchmark, found in (("image_init_ms", init), ("image_warm_ms", warm)):
            yield Comparison.of_medians(benchmark, found[True], found[False])


def _measure(
    bundle: Path, config: dict[str, Any], log: Path, command: Sequence[str] | None, event: dict[str, Any]
) -> tuple[float, list[float]]:
    with emulated(bundle, config, _VARIABLES, log, command) as invoke:
        first = _milliseconds(invoke, event)
        return first, [_milliseconds(invoke, event) for _ in range(_WARM)]


def _milliseconds(invoke: Callable[[object], Any], event: dict[str, Any]) -> float:
    started = time.perf_counter()
    answer = invoke(event)
    took = (time.perf_counter() - started) * 1000
    if "errorMessage" in answer:
        raise RuntimeError(answer["errorMessage"])
    return took


def _unpacked(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Assemble and unpack the contract suite's image of busybox."""
    image = contract_images()["busybox"]
    write_layout(folder / "mirror/contract/busybox", {"latest": image.image})
    (folder / "registry").mkdir()
    with real_registry(folder / "registry") as registry:
        wanted = Wanted(
            function="bench",
            package=image.package("busybox", "none"),
            architecture={"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
            image="contract/busybox",
            mirrors=f"docker.io=file://{folder}/mirror",
        )
        digest = assemble(wanted, TargetRepository(registry, "bench"), this_runner()).digest
        source = f"docker://{registry.removeprefix('http://')}/bench@{digest}"
        layout = folder / "layout"
        subprocess.run(
            ["skopeo", "copy", "-q", "--src-tls-verify=false", source, f"oci:{layout}:image"], check=True
        )
    bundle = folder / "bundles" / "bench"
    return bundle, unpack(layout, bundle)
