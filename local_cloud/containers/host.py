"""The program that runs one container: `python local_cloud contain STATUS_FD --grace SECONDS`.

The only module of this package that unpacks and runs images. Two processes:

    keeper   ends everything when its parent has ended, or sends SIGTERM
    host     unpacks the image if necessary, and runs the container

The task is one line of JSON on standard input, which stays open: its end is the end of the container.
STATUS_FD gets lines of JSON: `started`, then `ended` (with `out_of_memory`), or `failed` with a kind and a
message.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from containers.errors import ErrorKind, ExplainedError
from local_cloud import leash
from local_cloud.containers.memory import MemoryLimit
from local_cloud.containers.task import ContainerTask, JobNode, Mount

if TYPE_CHECKING:
    from collections.abc import Callable

    from containers.store import RootFilesystem
    from local_cloud.containers.node_network import NodeNetwork

_DEFAULT_STORE = "/tmp/scar"  # noqa: S108 - shared with the runner, whose default it is
_CANNOT_START = 125
_SIGNALLED = 128


def main(arguments: list[str]) -> None:
    """Run the container, and exit as it did; 128 + N if signal N ended it."""
    status, grace_s = int(arguments[0]), float(arguments[2])
    told = json.loads(_read_line(0))
    task = ContainerTask(
        **{
            **told,
            "mounts": [Mount(*mount) for mount in told["mounts"]],
            "node": told["node"] and JobNode(**told["node"]),
        }
    )
    network = None
    if task.node is not None:
        from local_cloud.containers.node_network import NodeNetwork, NodeNetworkError

        try:
            network = NodeNetwork.make() if task.node.main is None else NodeNetwork.join(task.node.main)
        except NodeNetworkError as error:
            _say(status, "failed", kind=ErrorKind.CANNOT_START, message=str(error))
            sys.exit(_CANNOT_START)
    leash.fork_keeper(grace_s=grace_s)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGTERM, _pass_on)
    exit_codes: list[int] = []
    # Not in the main thread, which handles the signals.
    thread = threading.Thread(target=lambda: exit_codes.append(_host(task, status, network)))
    thread.start()
    thread.join()
    sys.exit(exit_codes[0] if exit_codes else _CANNOT_START)


def _pass_on(number: int, _frame: object) -> None:
    """To the engine's helper, which passes it on to the container's processes."""
    from containers.engines.helper_process import is_helper

    for process in leash.children():
        if is_helper(process):
            os.kill(process, number)


def _host(task: ContainerTask, status: int, network: NodeNetwork | None) -> int:
    from containers import asking
    from containers.engines import ContainerProcess, choose_engine

    asking.this_process_is(asking.EMBEDDED_CLOUD)
    try:
        with _leased_root(task) as root:
            if task.only_prepare:
                return 0
            entrypoint = root.config.entrypoint if task.entrypoint is None else tuple(task.entrypoint)
            command = root.config.cmd if task.command is None else tuple(task.command)
            env = dict(entry.split("=", 1) for entry in root.config.env if "=" in entry)
            engine = choose_engine(_store(), "namespaces")
            _set_limits(task)
            on_network = None
            if network is not None and task.node is not None:
                on_network = _connecting(network, task.node.address, status)
            process = ContainerProcess(
                root=root,
                argv=(*entrypoint, *command),
                env={**env, **task.env},
                working_dir=task.working_dir or root.config.working_dir,
                user=root.config.user if task.user is None else task.user,
                binds={},
                read_only={Path(mount.source): mount.target for mount in task.mounts if mount.read_only},
                shared={Path(mount.source): mount.target for mount in task.mounts if not mount.read_only},
                deadline=None,
                on_output=lambda text: _say(
                    status, "failed", kind=ErrorKind.CANNOT_START, message=text.decode().strip()
                ),
                host_ports=[(address, port) for address, port in task.host_ports],
                output=1,
                lambda_tmp_mib=task.lambda_tmp_mib,
                read_only_root=task.read_only_root,
                on_network=on_network,
            )
            _say(status, "started", network=network.paths() if network else None)
            with MemoryLimit(task.memory_mib) as memory:
                result = engine.run(process)
    except ExplainedError as error:
        _say(status, "failed", kind=error.kind, message=str(error))
        return _CANNOT_START
    _say(status, "ended", out_of_memory=memory.exceeded)
    return _SIGNALLED + result.signal if result.signal is not None else result.exit_code or 0


def _connecting(network: NodeNetwork, address: str, status: int) -> Callable[[int], None]:
    """What connects a container to the other nodes, or kills it if that fails."""
    from local_cloud.containers.node_network import NodeNetworkError

    def connect(helper: int) -> None:
        try:
            network.connect(helper, address)
        except NodeNetworkError as error:
            _say(status, "failed", kind=ErrorKind.CANNOT_START, message=str(error))
            os.kill(helper, signal.SIGKILL)

    return connect


def _set_limits(task: ContainerTask) -> None:
    for name, (soft, hard) in (task.limits or {}).items():
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (soft, hard))
        except (AttributeError, ValueError, OSError) as error:
            raise ExplainedError(
                f"the limit '{name}' cannot be set to {soft}:{hard}: {error}", kind=ErrorKind.BAD_LIMITS
            ) from error


def _leased_root(task: ContainerTask) -> RootFilesystem:
    """The image, unpacked, which stays in the store until it is released. Raises ExplainedError."""
    from containers.image.layout import LayoutFolder
    from containers.image.manifests import host_architecture
    from containers.image.origin import find_image
    from containers.store import ImageSource, prepare_image
    from containers.store.pull import from_store
    from containers.store.shared_base import obtain_image_on_shared_base
    from containers.store.store import ImageStore

    if task.layout is None or task.digest is None:
        return prepare_image(ImageSource.registry(task.image), store=_store())
    images, what = ImageStore(_store()), f"image {task.image}"
    here = from_store(images, task.digest)
    if here is not None:
        return here
    found = find_image(LayoutFolder(Path(task.layout), what), task.digest, host_architecture(), what)
    return obtain_image_on_shared_base(found, images, what, lambda _message, _fields: None)


def _say(status: int, event: str, **more: object) -> None:
    os.write(status, json.dumps({"event": event, **more}).encode() + b"\n")


def _store() -> Path:
    return Path(os.environ.get("SCAR_STORE") or _DEFAULT_STORE)


def _read_line(descriptor: int) -> bytes:
    """Up to the end of the line only: the rest of the pipe is the leash."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(descriptor, 65536)
        if not piece:
            sys.exit(128 + signal.SIGHUP)  # the parent process has ended
        line += piece
    return line
