"""Assembled images under AWS's Lambda Runtime Interface Emulator, as on Lambda: root read-only, `/tmp`
writable, the process unprivileged."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

_REPOSITORY = Path(__file__).parents[1]
EMULATOR = (
    _REPOSITORY / "build/aws-lambda-rie" / f"aws-lambda-rie-{platform.machine().replace('aarch64', 'arm64')}"
)
UID, GID = 993, 990
"""Of `sbx_user1051`."""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def unpack(layout: Path, bundle: Path) -> dict[str, Any]:
    """Unpack the image with the tag `image` of an OCI layout; its configuration's `config`."""
    if not EMULATOR.is_file() or shutil.which("bwrap") is None:
        pytest.skip("needs build/aws-lambda-rie (make test fetches it) and bubblewrap")
    bundle.parent.mkdir(exist_ok=True)
    subprocess.run(["umoci", "raw", "unpack", "--image", f"{layout}:image", str(bundle)], check=True)
    for name in ("tmp", "proc", "dev"):
        (bundle / name).mkdir(exist_ok=True)
    blobs = layout / "blobs"

    def document(descriptor: Mapping[str, str]) -> dict[str, Any]:
        content = (blobs / descriptor["digest"].replace(":", "/")).read_bytes()
        return dict(json.loads(content))

    index = json.loads((layout / "index.json").read_text())
    return dict(document(document(index["manifests"][0])["config"])["config"])


@contextlib.contextmanager
def emulated(
    bundle: Path,
    config: Mapping[str, Any],
    variables: Mapping[str, str],
    log_file: Path,
    command: Sequence[str] | None = None,
) -> Iterator[Callable[[object], Any]]:
    """A function of an unpacked image; what is given takes an event and gives the answer.

    `command` takes the place of the image's entry point and command.
    """
    ports = [_free_port(), _free_port()]
    environment = {**dict(line.split("=", 1) for line in config.get("Env") or []), **variables}
    as_user = ["setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups"] if os.geteuid() == 0 else []
    jail = [*as_user, "bwrap", "--unshare-user", "--uid", str(UID), "--gid", str(GID), "--unshare-pid"]
    jail += ["--die-with-parent", "--ro-bind", str(bundle), "/", "--tmpfs", "/tmp", "--proc", "/proc"]
    jail += ["--dev", "/dev", "--ro-bind", str(_reachable(bundle)), "/tmp/rie", "--clearenv"]
    for name, value in environment.items():
        jail += ["--setenv", name, value]
    addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{ports[0]}",
                 "--runtime-api-address", f"127.0.0.1:{ports[1]}"]  # fmt: skip
    command = command or [*config["Entrypoint"], *config["Cmd"]]
    with log_file.open("ab") as log:
        process = subprocess.Popen([*jail, "/tmp/rie", *addresses, *command], stdout=log, stderr=log)
        try:
            _wait_for(ports[0], process, log_file)
            yield lambda event: _invoke(ports[0], event)
        finally:
            process.terminate()
            process.wait(10)


def _reachable(bundle: Path) -> Path:
    copy = bundle.with_name("rie")
    if not copy.exists():
        shutil.copy(EMULATOR, copy)
        copy.chmod(0o755)
    return copy


def _invoke(port: int, event: object) -> Any:
    url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
    with _OPENER.open(url, json.dumps(event).encode(), timeout=120) as answer:
        return json.load(answer)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1500):
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(log.read_text())
