from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from containers.engines import ContainerProcess, ContainerResult, Engine, choose_engine
from containers.errors import ExplainedError
from containers.store import ImageSource, RootFilesystem, prepare_image
from tests.oci_images import Image, busybox_layer, host_shell_layer, write_layout

REPOSITORY = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="session")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`shell` (this machine's own dynamically linked tools) and, where there is one, `static` (busybox)."""
    folder = tmp_path_factory.mktemp("layouts")
    write_layout(folder / "library/shell", {None: Image([host_shell_layer()])})
    static = busybox_layer()
    if static is not None:
        write_layout(folder / "library/static", {None: Image([static])})
    return folder


@pytest.fixture(scope="session")
def public_folder() -> Iterator[Path]:
    """A folder that any user of this machine may enter, with a copy of the runner (pytest's own are
    private)."""
    folder = Path(tempfile.mkdtemp(prefix="scar-test-"))
    folder.chmod(0o755)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "containers", folder / "containers", ignore=ignored)
    shutil.copy(Path(__file__).with_name("driver.py"), folder)
    os.system(f"chmod -R a+rX {folder}")
    yield folder
    shutil.rmtree(folder)


@dataclass
class Run:
    """A finished container."""

    result: ContainerResult
    output: str
    folder: Path


@dataclass
class Runner:
    """Runs commands in one image by one engine, each with an invocation folder of its own."""

    engine: Engine
    root: RootFilesystem
    store: Path
    listeners: list[Callable[[bytes], None]] = field(default_factory=list)

    def prepare(self, **files: str | bytes) -> Path:
        """The folder of the next run, with executable files."""
        (self.store / "run").mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self.store / "run"))
        for name, content in files.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
            (folder / name).chmod(0o755)
        return folder

    def __call__(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        user: str = "",
        cwd: str = "/",
        deadline: float | None = None,
        folder: Path | None = None,
        **more: Any,
    ) -> Run:
        output: list[bytes] = []

        def on_output(chunk: bytes) -> None:
            output.append(chunk)
            for listener in self.listeners:
                listener(chunk)

        folder = folder or self.prepare()
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        binds = {folder: str(folder)}
        process = ContainerProcess(self.root, argv, env or {}, cwd, user, binds, deadline, on_output, **more)
        result = self.engine.run(process)
        return Run(result, b"".join(output).decode("utf-8", "replace"), folder)


def make_runner(engine: str, layouts: Path, store: Path) -> Iterator[Runner]:
    try:
        chosen = choose_engine(store, engine)
    except ExplainedError as error:
        pytest.skip(f"{engine} does not work on this machine: {error.cause}")
    with prepare_image(
        ImageSource.registry("shell"), store=store, mirrors=f"docker.io=file://{layouts}"
    ) as root:
        yield Runner(chosen, root, store)


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores that all tests share, so that the image is unpacked once for each engine."""
    return tmp_path_factory.mktemp("stores")


@pytest.fixture
def namespaces(layouts: Path, stores: Path) -> Iterator[Runner]:
    yield from make_runner("namespaces", layouts, stores / "namespaces")


@pytest.fixture
def fresh_namespaces(layouts: Path, tmp_path: Path) -> Iterator[Runner]:
    """With an image that the test may change."""
    yield from make_runner("namespaces", layouts, tmp_path / "store")


FAKECHROOT = next(iter(sorted(Path("/usr/lib").glob("*/fakechroot/libfakechroot.so"))), None)


@pytest.fixture(scope="session")
def tools() -> Iterator[Path]:
    """A folder of tools as udocker lays them out, filled with what Debian's packages carry."""
    if FAKECHROOT is None:
        pytest.skip("the package libfakechroot is not installed")
    folder = Path(tempfile.mkdtemp(prefix="scar-tools-"))
    folder.chmod(0o755)
    (folder / "lib").mkdir()
    shutil.copy(FAKECHROOT, folder / f"lib/libfakechroot-Debian-12-{platform.machine()}.so")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def fakechroot(layouts: Path, stores: Path, tools: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    monkeypatch.setenv("SCAR_UDOCKER_TOOLS", str(tools))
    yield from make_runner("fakechroot", layouts, stores / "fakechroot")


@pytest.fixture
def proot(layouts: Path, stores: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    program = shutil.which("proot")
    if program is None:
        pytest.skip("the package proot is not installed")
    monkeypatch.setenv("UDOCKER_USE_PROOT_EXECUTABLE", program)
    yield from make_runner("proot", layouts, stores / "proot")
