"""A container's own network: of this machine, it reaches what it is given, and nothing else."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from containers.engines import namespaces as engine_module
from containers.engines.namespaces import NamespacesEngine
from containers.engines.network import outgoing
from runtime.environment import instance_address
from tests.faults.containers.engines.conftest import Run, Runner
from tests.faults.containers.engines.test_namespaces import drive
from tests.oci_images import busybox_layer
from tests.static_programs import CONNECT, compiled


@contextlib.contextmanager
def service(says: bytes, address: str = "127.0.0.1") -> Iterator[int]:
    """A server that answers a request with a few bytes; gives its port."""
    with socket.create_server((address, 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(1024)
                        connection.sendall(says)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def connect(runner: Runner, *words: str, **more: Any) -> Run:
    """Let a container try to connect to pairs of address and port."""
    folder = runner.prepare(connect=compiled(CONNECT))
    run = runner([f"{folder}/connect", *words], folder=folder, **more)
    if run.result.network.startswith("shared"):
        pytest.skip(run.result.network)
    return run


def test_the_given_port_is_reached_and_no_other_service_of_this_machine(namespaces: Runner) -> None:
    name = f"scar-{secrets.token_hex(4)}"
    with (
        service(b"endpoint") as endpoint,
        service(b"secret") as other,
        socket.socket(socket.AF_UNIX) as local,
    ):
        local.bind(f"\0{name}")
        local.listen()
        words = [
            "127.0.0.1",
            str(endpoint),
            "127.0.0.1",
            str(other),
            "127.1.2.3",
            str(other),
            "abstract",
            name,
        ]
        run = connect(namespaces, *words, host_ports=[("127.0.0.1", endpoint)])
    assert run.output.splitlines() == [
        f"{endpoint}: endpoint",
        f"127.0.0.1 {other}: Connection refused",
        f"127.1.2.3 {other}: Connection refused",
        f"{name}: Connection refused",
    ]


@pytest.mark.parametrize("program", ["slirp4netns", "pasta"])
def test_the_programs_that_lead_outside_do_not_lead_back_to_loopback(
    namespaces: Runner, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    monkeypatch.setattr(engine_module, "find_outgoing", lambda: path)
    if program == "pasta" and os.geteuid() == 0:  # which it can only join by way of a user namespace
        namespaces.engine = NamespacesEngine(namespaces.store, {"user_namespace": "yes", "overlay": "tmpfs"})
    with service(b"endpoint") as endpoint, service(b"secret") as other:
        gateway = subprocess.run(["ip", "route"], capture_output=True, text=True, check=False).stdout.split()[
            2:3
        ]
        words = [word for address in ("10.0.2.2", "10.0.2.3", *gateway) for word in (address, str(other))]
        run = connect(namespaces, "127.0.0.1", str(endpoint), *words, host_ports=[("127.0.0.1", endpoint)])
        seen = namespaces("cat /etc/resolv.conf", host_ports=[("127.0.0.1", endpoint)])
    if not run.result.network.endswith(f"by {program}"):
        pytest.skip(run.result.network)
    assert f"{endpoint}: endpoint" in run.output
    assert "secret" not in run.output
    assert seen.output.startswith(outgoing.resolver(path))
    assert not seen.result.cut_off


def test_a_connection_to_the_outside_is_made_where_there_is_a_program_for_it(namespaces: Runner) -> None:
    """To an address of this machine that is not on its loopback interface: any host of its network is reached
    the same way."""
    with service(b"outside", instance_address()) as port:
        run = connect(namespaces, instance_address(), str(port), host_ports=[])
    if not run.result.network.endswith("by slirp4netns"):
        pytest.skip(run.result.network)
    assert run.output == f"{port}: outside\n"


def test_without_such_a_program_there_is_no_way_out_and_the_result_says_so(
    namespaces: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with service(b"endpoint") as endpoint, service(b"outside", instance_address()) as other:
        words = ["127.0.0.1", str(endpoint), instance_address(), str(other)]
        run = connect(namespaces, *words, host_ports=[("127.0.0.1", endpoint)])
    assert run.output.splitlines()[0] == f"{endpoint}: endpoint"
    assert "outside" not in run.output
    assert run.result.cut_off
    assert "install slirp4netns or passt" in run.result.network


def test_a_program_that_fails_is_told_and_does_not_hold_the_container_up(
    namespaces: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "pasta"
    broken.write_text("#!/bin/sh\necho it is broken >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(engine_module, "find_outgoing", lambda: str(broken))
    run = namespaces("echo ran", host_ports=[])
    assert run.output == "ran\n"
    assert run.result.network == "own, without connections to the outside (pasta failed: it is broken)"


def test_nothing_of_a_network_outlives_its_run_and_the_helper_that_waits(namespaces: Runner) -> None:
    from containers.engines import helper_process

    def traces_after(runs: int) -> tuple[int, int]:
        """Descriptors and threads."""
        for _ in range(runs):
            namespaces("true", host_ports=[])
        _wait_for_spare()
        _wait_for_reapers()
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    before, after = traces_after(2), traces_after(3)
    if after != before and after[0] <= before[0] and after[1] <= before[1]:
        # Something of an earlier test has just ended.
        before, after = after, traces_after(3)
    assert after == before
    (spare,) = helper_process._spare
    children = {spare.process.pid}
    assert spare.network is not None
    if spare.network._outgoing is not None and spare.network._outgoing._process is not None:
        children.add(spare.network._outgoing._process.pid)
    listed = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "pid=,comm="], capture_output=True, text=True, check=True
    ).stdout
    ours = {int(line.split()[0]) for line in listed.splitlines() if "ps" not in line.split()[1:]}
    assert {pid for pid in ours if _is_helper_or_way_out(pid)} <= children


def _wait_for_spare() -> None:
    from containers.engines import helper_process

    (spare,) = helper_process._spare
    assert spare.network is not None
    spare.network._thread.join()


def _wait_for_reapers() -> None:
    for thread in threading.enumerate():
        if thread.name == "reaper":
            thread.join()


def _is_helper_or_way_out(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return any(word in command for word in (b"slirp4netns", b"pasta", b"marshal"))


def test_a_helper_that_waits_for_another_network_is_not_used(namespaces: Runner) -> None:
    with service(b"first") as first, service(b"second") as second:
        for port, says in ((first, "first"), (second, "second"), (second, "second"), (first, "first")):
            run = connect(namespaces, "127.0.0.1", str(port), host_ports=[("127.0.0.1", port)])
            assert run.output == f"{port}: {says}\n"
        assert "secret" not in run.output
        run = connect(namespaces, "127.0.0.1", str(first))
        assert run.output == f"{first}: first\n"  # without a network of its own


@pytest.mark.skipif(busybox_layer() is None, reason="busybox-static is not installed")
def test_two_containers_do_not_see_each_others_ports(namespaces: Runner) -> None:
    busybox = Path(str(shutil.which("busybox"))).read_bytes()
    folder = namespaces.prepare(busybox=busybox)
    script = (
        f"{folder}/busybox nc -l -p 18099 -e echo mine & "
        f"until {folder}/busybox grep -q :46B3 /proc/net/tcp /proc/net/tcp6; do sleep 0.01; done; "
        f"touch {folder}/listens; until [ -e {folder}/end ]; do sleep 0.01; done"
    )
    results: list[Run] = []
    listening = threading.Thread(
        target=lambda: results.append(namespaces(script, folder=folder, host_ports=[]))
    )
    listening.start()
    try:
        while not (folder / "listens").exists():
            assert listening.is_alive()
        run = connect(namespaces, "127.0.0.1", "18099", host_ports=[])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", 18099))
    finally:
        (folder / "end").touch()
        listening.join()
    assert run.output == "127.0.0.1 18099: Connection refused\n"


DRIVEN = [
    {"image": "shell", "argv": ["sh", "-c", "grep -c : /proc/net/dev"], "host_ports": [["127.0.0.1", 80]]}
]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(not os.access("/usr/bin/python3.11", os.X_OK), reason="needs a Python for every user")
def test_an_unprivileged_users_containers_have_networks_of_their_own(
    public_folder: Path, layouts: Path
) -> None:
    store = public_folder / "store-for-networks"
    store.mkdir()
    os.chown(store, 65534, 65534)
    who: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []}
    answer = drive(["/usr/bin/python3.11", "-I"], public_folder, layouts, store, DRIVEN, **who)
    if answer.get("kind") == "NoEngine":
        pytest.skip(answer["error"])
    (result,) = answer["results"]
    assert result["network"].startswith("own, ")
    assert int(result["output"]) == (2 if "outside by" in result["network"] else 1)  # lo, and the way out


@pytest.mark.skipif(os.geteuid() != 0, reason="a limit for namespaces is set in a namespace of its own")
def test_where_the_kernel_refuses_networks_the_machines_is_shared_and_the_result_says_so(
    public_folder: Path, layouts: Path, tmp_path: Path
) -> None:
    limit = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh", sys.executable, "-I"]
    answer = drive(command, public_folder, layouts, tmp_path / "store", DRIVEN)
    if answer.get("kind") == "NoEngine":
        pytest.skip(answer["error"])
    assert "results" in answer, answer
    (result,) = answer["results"]
    assert (
        result["network"]
        == "shared with this machine: a network namespace is refused: No space left on device"
    )
    assert result["exit"] == 0
