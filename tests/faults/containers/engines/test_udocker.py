from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from containers.engines import choose_engine
from containers.engines.udocker.prepared_root import prepare_root
from containers.engines.udocker.tools import CLibrary, choose_library, distribution, find_proot, library_path
from containers.errors import ExplainedError
from containers.store import ImageSource, prepare_image
from tests.faults.containers.engines.conftest import Runner
from tests.faults.containers.engines.test_namespaces import processes_mentioning
from tests.oci_images import busybox_layer

BOTH = pytest.mark.parametrize("runner", ["fakechroot", "proot"], indirect=True)


@pytest.fixture
def runner(request: pytest.FixtureRequest) -> Runner:
    chosen: Runner = request.getfixturevalue(request.param)
    return chosen


@BOTH
def test_a_program_runs_in_the_image(runner: Runner) -> None:
    folder = runner.prepare(data="in\n")
    run = runner(
        f"cat {folder}/data; pwd; echo err >&2; echo out > {folder}/out; exit 3", folder=folder, cwd="/usr"
    )
    assert (run.result.exit_code, run.output) == (3, "in\n/usr\nerr\n")
    assert (folder / "out").read_text() == "out\n"


@BOTH
def test_alternatives_lead_to_files_of_the_image(runner: Runner) -> None:
    run = runner("show /etc/os-release; /etc/alternatives/show /etc/group")
    assert run.output.startswith('ID=debian\nVERSION_ID="12"\nroot:x:0:')
    assert "worker" not in Path("/etc/group").read_text()
    assert "workers" in run.output


@BOTH
def test_a_script_of_the_invocation_runs_by_its_first_line(runner: Runner) -> None:
    folder = runner.prepare(
        script="#!/bin/sh -e\necho $0 $1\nshow /etc/os-release | head -1\nsh -c 'echo nested'\n"
    )
    run = runner([f"{folder}/script", "a b"], folder=folder)
    assert run.output == f"{folder}/script a b\nID=debian\nnested\n"


@BOTH
def test_nothing_of_one_run_reaches_the_next_without_mounts(runner: Runner) -> None:
    first = runner(
        "echo x > /tmp/left && mkdir /var/tmp/left && chmod 0 /var/tmp/left; echo x > /usr/left; rm /bin/sh"
    )
    assert first.output.count("ermission denied") == 2, first.output
    second = runner("ls /tmp/left /var/tmp/left /usr/left")
    assert second.output.count("No such file") == 3


@BOTH
def test_only_the_given_environment_and_the_engines_own(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "leaked")
    run = runner("env; cat; cat /proc/$PPID/environ", env={"A": "1"})
    assert "leaked" not in run.output
    assert "A=1" in run.output


@BOTH
def test_time_up_ends_daemons_without_a_pid_namespace(runner: Runner) -> None:
    mark = f"{os.getpid()}{time.time_ns() % 10**9}"
    script = f"setsid sleep 9{mark} & (setsid setsid sleep 8{mark} &) ; sleep 7{mark}"
    result = runner(script, deadline=time.monotonic() + 0.5).result
    assert result.timed_out
    assert processes_mentioning(mark) == []


@BOTH
def test_what_a_script_leaves_running_ends_with_it(runner: Runner) -> None:
    mark = f"{os.getpid()}{time.time_ns() % 10**9}"
    folder = runner.prepare()
    script = (
        f"(setsid sh -c 'echo >{folder}/a; exec sleep 9{mark}' >/dev/null 2>&1 &)\n"
        f"setsid sh -c 'echo >{folder}/b; exec sleep 8{mark}' &\n"
        f"until [ -e {folder}/a ] && [ -e {folder}/b ]; do :; done; exit 3"
    )
    result = runner(script, folder=folder, deadline=time.monotonic() + 20).result
    assert (result.exit_code, result.timed_out) == (3, False)
    assert processes_mentioning(mark) == []


@BOTH
@pytest.mark.parametrize("signal", ["KILL", "STOP"])
def test_a_script_that_turns_on_its_supervisor_leaves_nothing_behind(
    runner: Runner, signal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("containers.engines.supervise.GRACE_S", 0.1)
    monkeypatch.setattr("containers.engines.supervise._END_S", 0.5)
    mark = f"{os.getpid()}{time.time_ns() % 10**9}"
    script = (
        f"(setsid setsid sleep 9{mark} >/dev/null 2>&1 &); setsid sleep 8{mark} &"
        "for stat in /proc/[0-9]*/stat; do read -r pid name state parent rest <$stat && "
        f"eval parent_$pid=$parent; done; pid=$$; while [ $pid -gt 1 ] && [ $pid != {os.getpid()} ]; do "
        f'chain="$pid $chain"; eval pid=\\$parent_$pid; done; set -- $chain; kill -{signal} $1; sleep 7{mark}'
    )
    runner(script, deadline=time.monotonic() + 2)
    assert processes_mentioning(mark) == []


@BOTH
def test_missing_programs_and_folders(runner: Runner) -> None:
    missing = runner(["/no/such"])
    assert (missing.result.exit_code, "no such file" in missing.output) == (127, True)
    assert runner(["/etc/passwd"]).result.exit_code == 126
    assert runner("pwd", cwd="/made/up").output == "/made/up\n"


def test_death_by_a_signal_under_fakechroot(fakechroot: Runner) -> None:
    assert fakechroot("kill -9 $$").result.signal == 9


def test_a_prepared_image_costs_no_preparation_again(fakechroot: Runner) -> None:
    fakechroot("true")
    recipe = fakechroot.root.path.parent / "fakechroot.json"
    written = recipe.stat().st_mtime_ns
    durations = []
    for _ in range(5):
        started = time.monotonic()
        fakechroot("true")
        durations.append(time.monotonic() - started)
    assert recipe.stat().st_mtime_ns == written
    assert min(durations) < 0.5


@pytest.mark.skipif(busybox_layer() is None, reason="busybox-static is not installed")
def test_static_programs_are_refused_by_fakechroot_with_advice(fakechroot: Runner, layouts: Path) -> None:
    mirrors = f"docker.io=file://{layouts}"
    with prepare_image(ImageSource.registry("static"), store=fakechroot.store, mirrors=mirrors) as root:
        fakechroot.root = root
        with pytest.raises(ExplainedError) as caught:
            fakechroot("true")
    assert caught.value.kind == "EngineUnsuitable"
    assert "static" in caught.value.cause


@pytest.mark.skipif(busybox_layer() is None, reason="busybox-static is not installed")
def test_static_programs_go_to_proot_where_there_is_one(
    fakechroot: Runner, proot: Runner, layouts: Path
) -> None:
    mirrors = f"docker.io=file://{layouts}"
    with prepare_image(ImageSource.registry("static"), store=fakechroot.store, mirrors=mirrors) as root:
        fakechroot.root = root
        assert fakechroot("echo $0 $((6 * 7))").output == "sh 42\n"


def test_when_no_engine_works_all_reasons_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCAR_UDOCKER_TOOLS", str(tmp_path / "nothing-here"))
    monkeypatch.delenv("UDOCKER_USE_PROOT_EXECUTABLE", raising=False)
    for name in ("fakechroot", "proot"):
        with pytest.raises(ExplainedError) as caught:
            choose_engine(tmp_path / "store", name)
        assert caught.value.kind == "NoEngine"
        assert f"{tmp_path}/nothing-here" in caught.value.cause
        assert name in caught.value.cause


def test_an_unknown_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExplainedError) as caught:
        choose_engine(tmp_path, "docker")
    assert caught.value.kind == "BadConfiguration"


# -- choosing tools, for any machine


@pytest.fixture
def image(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ('ID=debian\nVERSION_ID="12"', "Debian-12"),
        ('ID="ubuntu"\nVERSION_ID="22.04"', "Ubuntu-22"),
        ("ID=alpine\nVERSION_ID=3.18.4", "Alpine-3.18"),
        ('ID="rocky"\nVERSION_ID="9.3"', "Rocky-9"),
        ("ID=unheard-of\nVERSION_ID=1", ""),
        ("", ""),
    ],
)
def test_distributions_as_udocker_names_them(image: Path, release: str, expected: str) -> None:
    (image / "etc/os-release").write_text(release)
    assert distribution(image) == expected


def test_the_library_must_fit_the_c_library(image: Path, tmp_path: Path) -> None:
    def library(name: str, content: str) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode())
        return path

    old = library("libfakechroot-CentOS-7-x86_64.so", "GLIBC_2.17 GLIBC_2.2.5")
    middle = library("libfakechroot-Ubuntu-22-x86_64.so", "GLIBC_2.34")
    new = library("libfakechroot-Debian-12-x86_64.so", "GLIBC_2.36")
    musl = library("libfakechroot-Alpine-3.18-x86_64.so", "libc.musl-x86_64.so.1")
    all_of_them = [old, middle, new, musl]

    def choice(version: tuple[int, int] | None) -> Path | None:
        return choose_library(image, CLibrary("/lib/ld", version), all_of_them)

    assert choice((2, 41)) == new
    assert choice((2, 35)) == middle
    assert choice((2, 28)) == old
    assert choice((2, 33)) is None  # the old one intercepts `__xstat`, this image calls `stat`
    assert choice((2, 12)) is None
    assert choice(None) == musl
    (image / "etc/os-release").write_text('ID=ubuntu\nVERSION_ID="22.04"')
    if os.uname().machine == "x86_64":
        assert choice((2, 41)) == middle  # made for this very distribution


@pytest.mark.parametrize(("machine", "name"), [("x86_64", "x86_64"), ("aarch64", "arm64")])
def test_tools_are_found_under_udockers_names_of_architectures(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, name: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setenv("SCAR_UDOCKER_TOOLS", str(tmp_path))
    monkeypatch.delenv("UDOCKER_USE_PROOT_EXECUTABLE", raising=False)
    (tmp_path / "bin").mkdir()
    for architecture in ("x86_64", "arm64"):
        proot = tmp_path / f"bin/proot-{architecture}-4_8_0"
        proot.touch(0o755)
    assert find_proot() == tmp_path / f"bin/proot-{name}-4_8_0"
    (image / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"')
    libraries = [
        tmp_path / f"libfakechroot-{found}.so" for found in (f"Debian-12-{name}", f"Fedora-38-{name}")
    ]
    for library in libraries:
        library.write_bytes(b"GLIBC_2.34")
    assert choose_library(image, CLibrary("/lib/ld", (2, 36)), libraries[::-1]) == libraries[0]


def test_library_folders_come_from_ld_so_conf(image: Path) -> None:
    (image / "etc/ld.so.conf").write_text(
        "# comment\ninclude /etc/ld.so.conf.d/*.conf\n/opt/direct\n/missing\n"
    )
    (image / "etc/ld.so.conf.d").mkdir()
    (image / "etc/ld.so.conf.d/a.conf").write_text("/opt/a\n")
    for name in ("opt/direct", "opt/real", "usr/lib"):
        (image / name).mkdir(parents=True)
    (image / "opt/a").symlink_to("/opt/real")
    (image / "lib").symlink_to("usr/lib")
    folders = library_path(image, CLibrary("/lib64/ld", (2, 36)))
    assert folders == [image / "opt/real", image / "opt/direct", image / "usr/lib"]


def test_links_lead_to_the_same_place_from_inside_and_outside(image: Path) -> None:
    (image / "a/b").mkdir(parents=True)
    (image / "etc/target").write_text("inside")
    (image / "a/b/absolute").symlink_to("/etc/target")
    (image / "a/b/above").symlink_to("../../../../../etc/target")
    (image / "a/b/relative").symlink_to("../../etc/target")
    (image / "a/b/root").symlink_to("/")
    prepare_root(image)
    for name in ("absolute", "above", "relative"):
        assert (image / "a/b" / name).resolve() == (image / "etc/target").resolve()
    assert (image / "a/b/root").resolve() == image.resolve()
    assert str((image / "a/b/relative").readlink()) == "../../etc/target"


# -- a jail like AWS Lambda's


@pytest.fixture
def jail(public_folder: Path, tools: Path, layouts: Path) -> Iterator[list[str]]:
    """A command line that puts a program where no namespace can be made and only /tmp can be written to."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        pytest.skip("the package bubblewrap is not installed")
    if os.geteuid() != 0 or not os.access("/usr/bin/python3.11", os.X_OK):
        pytest.skip("needs root, to become nobody, and a Python that everyone may run")
    readable = public_folder / f"layouts-{os.getpid()}"
    if not readable.exists():
        shutil.copytree(layouts, readable)
        subprocess.run(["chmod", "-R", "a+rX", str(readable)], check=True)
    yield [
        *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"),
        *(bwrap, "--unshare-user", "--disable-userns", "--ro-bind", "/", "/", "--dev-bind", "/dev", "/dev"),
        *("--tmpfs", "/tmp", "--ro-bind", str(public_folder), "/mnt", "--ro-bind", str(tools), "/opt"),
        *(
            "--proc",
            "/proc",
            "--clearenv",
            "--setenv",
            "SCAR_UDOCKER_TOOLS",
            "/opt",
            "--setenv",
            "PATH",
            "/nowhere",
        ),
        *(
            "--chdir",
            "/tmp",
            "/usr/bin/python3.11",
            "-I",
            "/mnt/driver.py",
            "/mnt",
            f"/mnt/{readable.name}",
            "/tmp/scar",
        ),
    ]


def test_in_a_jail_like_lambdas_fakechroot_is_chosen_and_runs_a_script(jail: list[str]) -> None:
    script = "#!/bin/sh\nshow /etc/os-release\necho $(cat @/data) > @/out\necho x > /usr/left\nls /tmp\n"
    commands: list[dict[str, Any]] = [
        {
            "image": "shell",
            "argv": ["sh", "-c", script.replace("#!/bin/sh\n", "")],
            "files": {"data": ("in", 0o644)},
        },
        {"image": "shell", "argv": ["sh", "-c", "ls /usr/left; setsid sleep 60 & sleep 60"], "seconds": 0.5},
    ]
    done = subprocess.run(
        jail, input=json.dumps(commands).encode(), capture_output=True, timeout=60, check=False
    )
    if b"bwrap:" in done.stderr:
        pytest.skip(f"bubblewrap cannot make such a jail here: {done.stderr.decode()}")
    assert done.returncode == 0, done.stderr.decode()
    answer = json.loads(done.stdout)
    assert answer.get("engine") == "fakechroot", answer
    first, second = answer["results"]
    assert first["output"].startswith('ID=debian\nVERSION_ID="12"\n')
    assert first["files"]["out"] == "in\n"
    assert "ermission denied" in first["output"]
    assert second["timed_out"]


@pytest.mark.parametrize("engine", ["fakechroot", "proot"])
def test_in_such_a_jail_daemons_and_fork_bombs_end_with_the_run(jail: list[str], engine: str) -> None:
    if engine == "proot" and shutil.which("proot") is None:
        pytest.skip("the package proot is not installed")
    mark = f"{os.getpid()}{time.time_ns() % 10**9}"
    daemons = f"(setsid setsid sleep 9{mark} >/dev/null 2>&1 &); setsid sleep 8{mark} &"
    scripts = [
        f"{daemons} exit 0",
        f"{daemons} kill -9 $PPID; sleep 7{mark}",
        f"ulimit -p 150; bomb() {{ bomb & bomb & sleep 9{mark}; }}; bomb 2>/dev/null",
    ]
    commands = [{"image": "shell", "argv": ["sh", "-c", script], "seconds": 2} for script in scripts]
    place = jail.index("--chdir")
    proot = ["--setenv", "UDOCKER_USE_PROOT_EXECUTABLE", shutil.which("proot") or ""]
    done = subprocess.run(
        [*jail[:place], *proot, *jail[place:], engine],
        input=json.dumps(commands).encode(),
        capture_output=True,
        timeout=100,
        check=False,
    )
    if b"bwrap:" in done.stderr:
        pytest.skip(f"bubblewrap cannot make such a jail here: {done.stderr.decode()}")
    assert done.returncode == 0, done.stderr.decode()
    answer = json.loads(done.stdout)
    assert answer.get("engine") == engine, answer
    assert answer["results"][0]["timed_out"] is False
    assert processes_mentioning(mark) == []
