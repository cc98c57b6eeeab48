"""What an invocation costs beside the script: fetching and unpacking the image, starting the container."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Comparison, in_turns, process
from runtime.engines import ContainerProcess, Engine, choose_engine
from runtime.errors import RunnerError
from runtime.images import ImageSource, prepare_image
from tests import oci_images
from tests.registry_server import REGISTRY_PROGRAM, real_registry

_FILES = 400
_FILE_BYTES = 200_000


def compare() -> Iterator[Comparison]:
    """The runner against the plain programs that do no more than needed."""
    layer = oci_images.busybox_layer()
    if layer is None or REGISTRY_PROGRAM is None:
        print("runner: skipped; needs a registry server (apt install busybox-static docker-registry)")
        return
    image = oci_images.Image([layer, _layer_of_files()])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "registry").mkdir()
        with real_registry(folder / "registry") as registry:
            oci_images.push(registry, "bench/files", "1", image)
            yield from _cold(folder, registry, image)
            yield from _warm(folder, registry)


def _cold(folder: Path, registry: str, image: oci_images.Image) -> Iterator[Comparison]:
    reference = f"{registry.removeprefix('http://')}/bench/files:1"
    numbers = itertools.count()
    manifest, config, layers = image.blobs()
    del manifest, config
    blobs = " ".join(f"{registry}/v2/bench/files/blobs/{oci_images.digest_of(blob)}" for blob in layers)

    def ours() -> None:
        store = folder / f"store-{next(numbers)}"
        with prepare_image(ImageSource.registry(reference), store=store):
            pass
        subprocess.run(["rm", "-rf", str(store)], check=True)

    def plain() -> None:
        target = folder / f"plain-{next(numbers)}"
        target.mkdir()
        subprocess.run(
            [
                "sh",
                "-c",
                f'for blob in {blobs}; do curl -sf "$blob" | tar xz -C "$1"; done',
                "sh",
                str(target),
            ],
            check=True,
        )
        subprocess.run(["rm", "-rf", str(target)], check=True)

    if shutil.which("curl"):
        yield in_turns("cold_vs_curl_tar_small", ours, plain)


def _warm(folder: Path, registry: str) -> Iterator[Comparison]:
    store = folder / "store"
    store.mkdir()
    reference = f"{registry.removeprefix('http://')}/bench/files:1"
    with prepare_image(ImageSource.registry(reference), store=store) as root:
        for name in ("namespaces", "fakechroot"):
            try:
                engine = choose_engine(store, name)
            except RunnerError as problem:
                print(f"{name}: skipped; {problem}")
                continue
            request = ContainerProcess(
                root=root,
                argv=["/bin/busybox", "true"],
                env={},
                working_dir="/",
                user="",
                binds={},
                deadline=None,
                on_output=lambda _output: None,
            )

            def ours(request: ContainerProcess = request, engine: Engine = engine) -> None:
                result = engine.run(request)
                if result.exit_code != 0:
                    raise SystemExit(f"the container ended with {result}")

            yield in_turns(f"start_{name}_vs_process", ours, process(["busybox", "true"]), 15)


def _layer_of_files() -> bytes:
    """80 MB in 400 files, half of it compressible."""
    source = random.Random(1)  # the same image each time
    files = [oci_images.directory("data")]
    files += [
        oci_images.File(f"data/{number}", source.randbytes(_FILE_BYTES // 2) + bytes(_FILE_BYTES // 2))
        for number in range(_FILES)
    ]
    return oci_images.tar_of(files)
