from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from containers.engines import ContainerProcess
from containers.engines import namespaces as engine_module
from containers.engines.namespaces import NamespacesEngine
from containers.engines.user import look_up_user
from containers.errors import ExplainedError
from tests.faults.containers.engines.conftest import REPOSITORY, Runner, make_runner
from tests.oci_images import busybox_layer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def processes_mentioning(mark: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "cmdline").read_bytes() and int(folder.name) != os.getpid():
                found.append(folder.name)
        except OSError:
            continue
    return found


def wait_until(condition: Any, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


@pytest.mark.parametrize("code", [0, 3, 255])
def test_the_exit_code_comes_back(namespaces: Runner, code: int) -> None:
    run = namespaces(f"echo out; echo err >&2; exit {code}")
    assert (run.result.exit_code, run.result.signal, run.result.timed_out) == (code, None, False)
    assert run.output == "out\nerr\n"


def test_death_by_a_signal_comes_back(namespaces: Runner) -> None:
    result = namespaces("kill -9 $$").result
    assert (result.exit_code, result.signal) == (None, 9)
    assert namespaces("kill -TERM $$").result.signal == 15


def test_only_the_given_environment_is_there(namespaces: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "leaked")
    run = namespaces("env; cat /proc/1/environ", env={"A": "b c\n$x", "PATH": "/usr/bin"})
    assert "leaked" not in run.output
    assert "A=b c\n$x" in run.output
    assert "HOME=/root" in run.output


def test_standard_input_is_empty_and_no_descriptor_is_inherited(namespaces: Runner) -> None:
    run = namespaces("cat; ls -l /proc/self/fd")
    numbers = {line.split()[8] for line in run.output.splitlines() if "->" in line}
    assert numbers == {"0", "1", "2", "3"}  # 3 is ls itself, reading the folder
    assert "/dev/null" in run.output


def test_output_arrives_while_the_program_runs(namespaces: Runner) -> None:
    folder = namespaces.prepare()

    def go_on(chunk: bytes) -> None:
        if b"first" in chunk:
            (folder / "seen").touch()

    namespaces.listeners.append(go_on)
    script = f"echo first; while [ ! -e {folder}/seen ]; do sleep 0.01; done; echo second"
    run = namespaces(script, folder=folder, deadline=time.monotonic() + 20)
    assert run.output == "first\nsecond\n"


def test_the_invocation_folder_is_shared_and_the_rest_is_not(namespaces: Runner) -> None:
    folder = namespaces.prepare(data="from outside")
    run = namespaces(f"cat {folder}/data; echo inside > {folder}/made; ls {namespaces.store}", folder=folder)
    assert run.output.startswith("from outside")
    assert "images" not in run.output
    assert (folder / "made").read_text() == "inside\n"


def test_nothing_of_one_run_reaches_the_next(namespaces: Runner) -> None:
    places = "/left /usr/bin/left /tmp/left /var/tmp/left /dev/shm/left /run/left"
    first = namespaces(
        f"for p in {places}; do echo x > $p || exit 1; done; rm /usr/bin/show; echo gone > /etc/passwd"
    )
    assert first.result.exit_code == 0, first.output
    second = namespaces(f"ls {places}; show /etc/passwd")
    assert second.output.count("No such file") == 6
    assert "root:x:0:0" in second.output
    assert not (namespaces.root.path / "left").exists()
    assert list((namespaces.store / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", "0 0"),
        ("worker", "1234 4321"),
        ("77", "77 0"),
        ("77:88", "77 88"),
        ("worker:root", "1234 0"),
        ("0", "0 0"),
    ],
)
def test_user_is_that_of_the_image(namespaces: Runner, user: str, expected: str) -> None:
    run = namespaces(
        "echo $(id -u) $(id -g); echo x > $F/made", user=user, env={"F": str(namespaces.prepare())}
    )
    assert run.output.splitlines()[0] == expected


def test_the_user_of_the_image_can_write_to_the_invocation_folder(namespaces: Runner) -> None:
    folder = namespaces.prepare(data="x")
    run = namespaces(f"cat {folder}/data && echo y > {folder}/out", user="worker", folder=folder)
    assert run.result.exit_code == 0, run.output
    assert (folder / "out").read_text() == "y\n"


@pytest.mark.parametrize("user", ["nobody-knows", "worker:nogroup", "4294967296"])
def test_unknown_user_is_a_clear_error(namespaces: Runner, user: str) -> None:
    with pytest.raises(ExplainedError) as caught:
        namespaces("true", user=user)
    assert caught.value.kind == "UnknownUser"


def test_a_working_directory_is_made_if_it_is_missing(namespaces: Runner) -> None:
    assert namespaces("pwd", cwd="/not/yet/there").output == "/not/yet/there\n"


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["/no/such"], 127, "no such file"),
        (["no-such"], 127, "no such file"),
        (["/etc/passwd"], 126, "not executable"),
        (["/etc"], 126, "not executable"),
    ],
)
def test_what_cannot_be_started_is_explained_as_docker_does(
    namespaces: Runner, argv: list[str], code: int, text: str
) -> None:
    run = namespaces(argv)
    assert run.result.exit_code == code
    assert text in run.output


def test_a_script_without_its_interpreter_is_explained(namespaces: Runner) -> None:
    folder = namespaces.prepare(script="#!/no/such/interpreter\n", text="just text\n")
    run = namespaces([f"{folder}/script"], folder=folder)
    assert run.result.exit_code == 127
    assert "interpreter" in run.output
    assert namespaces([f"{folder}/text"], folder=folder).result.exit_code == 126


def test_time_up_ends_everything_daemons_too(namespaces: Runner) -> None:
    mark = f"{os.getpid()}{time.time_ns() % 10**9}"
    script = f"setsid sleep 9{mark} & (setsid setsid sleep 8{mark} &) ; sleep 7{mark}"
    started = time.monotonic()
    result = namespaces(script, deadline=started + 0.3).result
    assert result.timed_out
    assert time.monotonic() - started < 10
    assert processes_mentioning(mark) == []


def test_a_program_that_ignores_sigterm_is_killed(
    namespaces: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("containers.engines.supervise.GRACE_S", 0.2)
    result = namespaces(
        "trap '' TERM; echo ready; while :; do sleep 1; done", deadline=time.monotonic() + 1
    ).result
    assert (result.timed_out, result.signal) == (True, 9)


def test_daemons_end_with_the_main_program(namespaces: Runner) -> None:
    mark = f"{os.getpid()}{time.time_ns() % 10**9}"
    started = time.monotonic()
    assert namespaces(f"setsid sleep 9{mark} & exit 5").result.exit_code == 5
    assert time.monotonic() - started < 10
    assert processes_mentioning(mark) == []


def test_the_end_of_an_orphan_is_not_the_programs(namespaces: Runner) -> None:
    orphan = "(sh -c 'echo $$ > /tmp/orphan; exit 7' &)"
    gone = "while [ ! -s /tmp/orphan ] || [ -d /proc/$(cat /tmp/orphan) ]; do :; done"
    assert namespaces(f"{orphan}; {gone}; exit 3").result.exit_code == 3


def test_a_path_with_any_characters_is_no_option_of_the_overlay(
    namespaces: Runner, layouts: Path, tmp_path: Path
) -> None:
    if "written" not in namespaces("echo written > /usr/x && cat /usr/x").output:
        pytest.skip("there is no overlay here")
    for runner in make_runner("namespaces", layouts, tmp_path / "a,b:c\\d"):
        assert runner("echo written > /usr/x && cat /usr/x").output == "written\n"


def test_an_error_of_the_listener_ends_the_container(namespaces: Runner) -> None:
    mark = f"{os.getpid()}{time.time_ns() % 10**9}"

    def fail(_: bytes) -> None:
        raise KeyError("listener")

    namespaces.listeners.append(fail)
    with pytest.raises(KeyError):
        namespaces(f"echo hello; sleep 9{mark}")
    assert processes_mentioning(mark) == []


def test_a_killed_caller_takes_the_container_with_it(
    namespaces: Runner, layouts: Path, tmp_path: Path
) -> None:
    mark = f"{os.getpid()}{time.time_ns() % 10**9}"
    commands = [{"image": "shell", "argv": ["sh", "-c", f"setsid sleep 9{mark} & sleep 8{mark}"]}]
    caller = subprocess.Popen(
        [
            sys.executable,
            str(Path(__file__).with_name("driver.py")),
            str(REPOSITORY),
            str(layouts),
            str(tmp_path / "s2"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert caller.stdin is not None
    caller.stdin.write(json.dumps(commands).encode())
    caller.stdin.close()
    assert wait_until(lambda: len(processes_mentioning(f"9{mark}")) >= 1)
    caller.kill()
    caller.wait()
    assert wait_until(lambda: processes_mentioning(mark) == [])


@pytest.mark.skipif(os.geteuid() != 0, reason="privileges are only there to be dropped as root")
def test_root_of_the_image_is_not_root_of_the_host(namespaces: Runner) -> None:
    run = namespaces(
        "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; echo x > /proc/sys/kernel/core_pattern;"
        "echo x > /proc/sysrq-trigger; ls /dev; ls /proc/1/root/ >/dev/null && echo same-root; ls /sys"
    )
    status = dict(line.split(":\t") for line in run.output.splitlines() if ":\t" in line)
    kept = int(status["CapEff"], 16)
    for forbidden in (
        2,
        12,
        13,
        16,
        17,
        18,
        19,
        21,
        22,
        27,
        39,
    ):  # …SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, MKNOD…
        assert not kept >> forbidden & 1
    assert int(status["CapBnd"], 16) == kept
    assert status["NoNewPrivs"] == "1"
    assert run.output.count("Read-only file system") + run.output.count("nonexistent") >= 2
    assert "vda" not in run.output.split()
    assert "sda" not in run.output.split()


def test_symlinks_of_the_image_do_not_lead_mounts_to_the_host(
    fresh_namespaces: Runner, tmp_path: Path
) -> None:
    namespaces = fresh_namespaces
    target = tmp_path / "host-folder"
    target.mkdir()
    root = namespaces.root.path
    (root / "run").rmdir()
    (root / "run").symlink_to(target)
    (root / "etc/resolv.conf").unlink()
    (root / "etc/resolv.conf").symlink_to(target / "planted")
    run = namespaces(
        "cat /etc/resolv.conf; echo x > /etc/resolv.conf; mkdir -p /run/x; echo x > /run/y; echo done"
    )
    assert run.output.startswith(Path("/etc/resolv.conf").read_text())
    assert run.output.endswith("done\n")
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("overlay", ["tmpfs", "none"])
def test_other_ways_to_keep_the_image_unchanged(namespaces: Runner, overlay: str) -> None:
    assert isinstance(namespaces.engine, NamespacesEngine)
    user_namespace = "yes" if namespaces.engine._user_namespace else "no"
    namespaces.engine = NamespacesEngine(
        namespaces.store, {"user_namespace": user_namespace, "overlay": overlay}
    )
    folder = namespaces.prepare()
    run = namespaces(f"echo x > /tmp/left && echo y > {folder}/out; echo z > /usr/left", folder=folder)
    assert (folder / "out").read_text() == "y\n"
    assert ("Read-only" in run.output) == (overlay == "none")
    assert "No such file" in namespaces("ls /tmp/left /usr/left").output
    assert not (namespaces.root.path / "usr/left").exists()


def test_sixteen_at_once(namespaces: Runner) -> None:
    from concurrent.futures import ThreadPoolExecutor

    folders = [namespaces.prepare() for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        runs = list(
            pool.map(
                lambda folder: namespaces(f"echo {folder.name} > /mine; cat /mine", folder=folder), folders
            )
        )
    assert [run.output.strip() for run in runs] == [folder.name for folder in folders]


def test_standard_error_can_have_a_listener_of_its_own(namespaces: Runner) -> None:
    output: list[bytes] = []
    errors: list[bytes] = []
    argv = ["sh", "-c", "echo out; echo err >&2; exit 4"]
    process = ContainerProcess(namespaces.root, argv, {}, "/", "", {}, None, output.append, errors.append)
    assert namespaces.engine.run(process).exit_code == 4
    assert (b"".join(output), b"".join(errors)) == (b"out\n", b"err\n")


def test_both_outputs_can_go_to_a_descriptor(namespaces: Runner, tmp_path: Path) -> None:
    told: list[bytes] = []
    with (tmp_path / "log").open("wb") as log:
        for argv in (["sh", "-c", "echo out; echo err >&2; exit 4"], ["/no/such"]):
            process = ContainerProcess(
                namespaces.root, argv, {}, "/", "", {}, None, told.append, output=log.fileno()
            )
            namespaces.engine.run(process)
    assert (tmp_path / "log").read_text() == "out\nerr\n"
    assert b"".join(told) == b"cannot start '/no/such': no such file in the image\n"


@pytest.mark.parametrize("user", ["993:990", "0:0"])
def test_like_lambda_only_a_fresh_tmp_is_writable(namespaces: Runner, user: str) -> None:
    places = "/ /usr/bin /etc /dev /dev/shm /var/tmp /run /tmp"
    script = f"for p in {places}; do (echo x > $p/x) 2>/dev/null && echo $p; done; id -u; ls /tmp"
    script += "; head -c 3000000 /dev/zero > /tmp/big || echo full"
    for _ in range(2):
        output: list[bytes] = []
        process = ContainerProcess(
            *(namespaces.root, ["sh", "-c", script], {}, "/", user, {}, None),
            output.append,
            lambda_tmp_mib=2,
        )
        namespaces.engine.run(process)
        lines = b"".join(output).decode().splitlines()
        assert (lines[:3], lines[-1]) == (["/tmp", user.partition(":")[0], "x"], "full")


def test_nothing_of_a_read_only_root_can_be_written_to(namespaces: Runner) -> None:
    script = "for p in / /etc /tmp /run /work; do (echo x > $p/x) 2>&1; done; echo x > /dev/shm/x && echo shm"
    output: list[bytes] = []
    process = ContainerProcess(
        *(namespaces.root, ["sh", "-c", script], {}, "/work", "", {}, None),
        output.append,
        read_only_root=True,
    )
    namespaces.engine.run(process)
    *refused, shared_memory = b"".join(output).decode().splitlines()
    assert ["Read-only file system" in line for line in refused] == [True] * 5
    assert shared_memory == "shm"


def test_names_that_are_not_ascii_pass_unchanged(namespaces: Runner) -> None:
    odd = "\u00fc/\u00f1 \u65e5.png" + os.fsdecode(b"\xff")
    folder = namespaces.prepare()
    inner = folder / odd.replace("/", "-")
    inner.write_text("content")
    script = 'cat "$1"; echo "$X" > $F'
    env = {"X": odd, "F": f"{folder}/out"}
    run = namespaces(["sh", "-c", script, "sh", str(inner)], env=env, folder=folder)
    assert run.output.startswith("content"), run.output
    assert os.fsdecode((folder / "out").read_bytes()) == odd + "\n"


@pytest.mark.parametrize("env", [{"A": "x\0y"}, {"": "x"}, {"A=B": "x"}, {"A": "\ud800"}, {"\ud800": "x"}])
def test_what_cannot_be_an_environment_is_refused(namespaces: Runner, env: dict[str, str]) -> None:
    with pytest.raises(ExplainedError) as caught:
        namespaces("true", env=env)
    assert caught.value.kind == "BadConfiguration"


@pytest.mark.parametrize("argv", [[], [""], ["true", "\ud800"]])
def test_what_cannot_be_a_command_is_refused(namespaces: Runner, argv: list[str]) -> None:
    with pytest.raises(ExplainedError) as caught:
        namespaces(argv)
    assert caught.value.kind == "BadConfiguration"


def test_a_working_directory_that_no_system_call_takes_is_refused(namespaces: Runner) -> None:
    with pytest.raises(ExplainedError) as caught:
        namespaces("true", cwd="/\ud800")
    assert caught.value.kind == "BadConfiguration"


def test_a_user_with_an_endless_number_is_no_user(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"odd:x:{'9' * 5000}:0::/:/bin/sh\n")
    with pytest.raises(ExplainedError) as caught:
        look_up_user(tmp_path, "odd")
    assert caught.value.kind == "UnknownUser"


def test_a_variable_that_is_too_large_is_explained(namespaces: Runner) -> None:
    run = namespaces("true", env={"BIG": "x" * 200_000, "PATH": "/usr/bin"})
    assert run.result.exit_code == 126
    assert "too large" in run.output


def test_a_large_environment_passes(namespaces: Runner) -> None:
    run = namespaces("echo ${#BIG}", env={"BIG": "x" * 100_000, "PATH": "/usr/bin"})
    assert run.output == "100000\n"


@pytest.mark.skipif(busybox_layer() is None, reason="busybox-static is not installed")
def test_static_programs_run(namespaces: Runner, layouts: Path) -> None:
    from containers.store import ImageSource, prepare_image

    with prepare_image(
        ImageSource.registry("static"), store=namespaces.store, mirrors=f"docker.io=file://{layouts}"
    ) as root:
        namespaces.root = root
        assert namespaces("id -u; cat /etc/group").output.startswith("0\nroot:x:0:")


# -- other users, other Pythons


def drive(
    command: list[str], public: Path, layouts: Path, store: Path, commands: list[Any], **more: Any
) -> Any:
    readable = public / f"layouts-{os.getpid()}"
    if not readable.exists():
        shutil.copytree(layouts, readable)
        subprocess.run(["chmod", "-R", "a+rX", str(readable)], check=True)
    done = subprocess.run(
        [*command, str(public / "driver.py"), str(public), str(readable), str(store), "namespaces"],
        input=json.dumps(commands).encode(),
        capture_output=True,
        timeout=60,
        check=False,
        cwd="/",
        **more,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def check_drive(answer: Any) -> None:
    if answer.get("kind") == "NoEngine":
        pytest.skip(answer["error"])
    first, second, third = answer["results"]
    assert first["output"] == "0\nin root\n"
    assert first["files"] == {"data": "in", "out": "1\n"}
    assert (second["output"], second["exit"]) == (
        "1234\nls: cannot access '/left': No such file or directory\n",
        2,
    )
    assert third["timed_out"]


COMMANDS = [
    {
        "image": "shell",
        "argv": ["sh", "-c", "id -u; cat @/data; echo ' root'; echo 1 > @/out; echo x > /left"],
        "files": {"data": ("in", 0o644)},
    },
    {"image": "shell", "argv": ["sh", "-c", "id -u; ls /left"], "user": "worker", "env": {"LC_ALL": "C"}},
    {"image": "shell", "argv": ["sleep", "60"], "seconds": 0.2},
]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(
    not os.access("/usr/bin/python3.11", os.X_OK), reason="needs a Python that every user may run"
)
def test_an_unprivileged_user_can_run_containers(public_folder: Path, layouts: Path) -> None:
    store = public_folder / "store-of-nobody"
    store.mkdir()
    os.chown(store, 65534, 65534)
    answer = drive(
        ["/usr/bin/python3.11", "-I"],
        public_folder,
        layouts,
        store,
        COMMANDS,
        user=65534,
        group=65534,
        extra_groups=[],
    )
    check_drive(answer)
    assert answer["uid"] == 65534


@pytest.mark.skipif(shutil.which("python3.13") is None, reason="needs Python 3.13")
def test_it_works_under_the_python_of_the_lambda_runtime(
    public_folder: Path, layouts: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYENV_VERSION": "3.13.0"}
    tried = subprocess.run(["python3.13", "-c", ""], env=environment, check=False, capture_output=True)
    if tried.returncode != 0:
        pytest.skip("python3.13 does not start")
    check_drive(
        drive(["python3.13", "-I"], public_folder, layouts, tmp_path / "store", COMMANDS, env=environment)
    )


def test_the_probe_names_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from containers.engines.contract import ProbeFailed

    monkeypatch.setattr(engine_module, "_modes", lambda: iter(()))
    with pytest.raises(ProbeFailed):
        engine_module.probe_namespaces(tmp_path)
