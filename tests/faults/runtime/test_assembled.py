"""The runner as part of an assembled image: here this machine is the image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.runtime.conftest import Bucket, Function
from tests.unit.runtime.event_shapes import s3_event

READ_ONLY = (
    *(shutil.which("bwrap") or "bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
    *(
        "--tmpfs",
        "/tmp",
        "--unshare-user",
        "--uid",
        "993",
        "--gid",
        "990",
        "--unshare-pid",
        "--die-with-parent",
    ),
)
"""A root file system as on Lambda."""
BATCH = {"AWS_BATCH_JOB_ID": "job-1", "AWS_BATCH_JOB_ATTEMPT": "2", "SCAR_MEMORY_MIB": "512"}
needs_bwrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bwrap is not installed")


@pytest.fixture
def assembled(function: Function, bucket: Bucket) -> Function:
    bucket.put("in/a b.txt", b"hello")
    return function


def run_job(
    function: Function,
    script: str | None,
    *,
    image: Mapping[str, object] | None = None,
    prefix: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
    **settings: Any,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m runtime batch` on `in/a b.txt`."""
    batch = {"timeout_s": 30, "attempts": 1}
    function.deploy(script, **{"batch": batch, "timeout_threshold_s": 0, **settings})
    config = {"version": 1, "env": [], "entrypoint": [], "cmd": [], "working_dir": "", "user": ""}
    (function.folder / "image_config.json").write_text(json.dumps({**config, **(image or {})}))
    event = {"Records": s3_event(function.bucket.name, "in/a b.txt")["Records"]}
    if prefix:
        prefix = (*prefix, "--ro-bind", str(function.folder), str(function.folder))
        if Path(__file__).is_relative_to("/tmp"):
            prefix = (*prefix, "--ro-bind", *([str(Path(__file__).parents[3])] * 2))
    return subprocess.run(
        [*prefix, sys.executable, "-m", "runtime", "batch"],
        env={
            **{name: value for name, value in os.environ.items() if name.startswith("AWS_")},
            "PATH": "/nothing/of/ours",
            "SCAR_STORE": "/tmp/scar-test" if prefix else str(function.store),
            "SCAR_FUNCTION_DIR": str(function.folder),
            "SCAR_EVENT": json.dumps(event),
            **(environ or {}),
        },
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def summary(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    return next(line for line in lines if line["message"] == "summary")


def test_the_summary_has_the_memory_and_cpu_time_of_the_script(assembled: Function) -> None:
    fill = "head -c 150000000 /dev/zero; touch {own}; until [ -e {other} ]; do sleep 0.1; done; sleep 1"
    one, other = (
        f"({fill.format(own=own, other=other)}) | grep -ac x" for own, other in (("a", "b"), ("b", "a"))
    )
    alone, both = (
        summary(run_job(assembled, f"#!/bin/sh\ncd $TMP_OUTPUT_DIR\n{script}\ntrue\n", environ=BATCH))
        for script in ("sleep 0.1", f"({one}) & {other}; wait")
    )
    assert 0 < alone["memory_bytes"] < 20e6, "without the runner, which is larger"
    assert both["memory_bytes"] > 300e6
    assert 0 <= alone["cpu_ms"] < both["cpu_ms"]
    assert (both["mode"], both["attempt"], both["memory_limit_bytes"]) == ("batch", 2, 512 << 20)
    assert both["init_ms"] > 0
    assert both["exit_code"] == 0


def variables(content: bytes) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in content.decode().rstrip("\0").split("\0"))


def test_script_runs_in_the_runners_own_root_and_its_outputs_are_uploaded(assembled: Function) -> None:
    ran = run_job(assembled, '#!/bin/sh\ncp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/copy"\n')
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert assembled.bucket.get("out/copy") == b"hello"
    assert summary(ran)["engine"] == "direct"
    assert assembled.leftovers() == []


def test_environment_is_the_images_and_the_contracts_and_not_the_runners(assembled: Function) -> None:
    ran = run_job(
        assembled,
        "#!/bin/sh\nenv -0 > $TMP_OUTPUT_DIR/env\n",
        image={"env": ["PATH=/usr/bin:/bin", "LD_LIBRARY_PATH=/opt/lib", "FROM=image"]},
        environ={"LEAK": "x", "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1", "CONT_VAR_COLOR": "red"},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = variables(assembled.bucket.get("out/env"))
    assert found["PATH"] == "/usr/bin:/bin"
    assert found["LD_LIBRARY_PATH"] == "/opt/lib"
    assert (found["FROM"], found["COLOR"]) == ("image", "red")
    assert not {"LEAK", "AWS_LAMBDA_RUNTIME_API", "SCAR_STORE", "SCAR_EVENT"} & found.keys()


def test_without_a_script_the_images_entry_point_and_command_run(assembled: Function) -> None:
    image = {"entrypoint": ["/bin/sh", "-c", 'echo "$0 $1" > $TMP_OUTPUT_DIR/said'], "cmd": ["a", "b c"]}
    ran = run_job(assembled, None, image=image)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert assembled.bucket.get("out/said") == b"a b c\n"


@needs_bwrap
def test_on_a_read_only_root_home_tmpdir_and_working_directory_are_writable(assembled: Function) -> None:
    ran = run_job(
        assembled,
        '#!/bin/sh\nset -e\ntouch "$HOME/x" "$TMPDIR/x" ./x /tmp/x\n! touch /usr/x\n'
        'id -u > "$TMP_OUTPUT_DIR/uid"\nenv -0 > "$TMP_OUTPUT_DIR/env"\n',
        image={"env": ["HOME=/usr/share"]},
        prefix=READ_ONLY,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert assembled.bucket.get("out/uid") == b"993\n"


@needs_bwrap
def test_home_of_the_fdl_file_stays_although_it_is_read_only(assembled: Function) -> None:
    ran = run_job(
        assembled,
        '#!/bin/sh\necho "$HOME" > "$TMP_OUTPUT_DIR/home"\n',
        prefix=READ_ONLY,
        container_environment={"HOME": "/usr/share"},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert assembled.bucket.get("out/home") == b"/usr/share\n"


@needs_bwrap
def test_run_that_fails_on_a_read_only_root_names_the_remedies(assembled: Function) -> None:
    ran = run_job(assembled, "#!/bin/sh\ntouch /usr/x\n", prefix=READ_ONLY)
    assert ran.returncode == 1
    assert "read-only on AWS Lambda: write to $HOME" in summary(ran)["error"]


def test_daemon_ends_with_the_run(assembled: Function, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    ran = run_job(
        assembled,
        f"#!/bin/sh\nsetsid sh -c 'echo $$ > {pid_file}; exec sleep 300' >/dev/null 2>&1 &\n"
        f"while [ ! -s {pid_file} ]; do sleep 0.01; done\n",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not Path(f"/proc/{pid_file.read_text().strip()}").exists()


def test_time_that_is_up_ends_everything_and_uploads_nothing(assembled: Function) -> None:
    ran = run_job(
        assembled,
        "#!/bin/sh\ntouch $TMP_OUTPUT_DIR/x\ntrap '' TERM\nsleep 300 & sleep 300\n",
        batch={"timeout_s": 3, "attempts": 1},
    )
    assert ran.returncode == 124
    assert summary(ran)["kind"] == "TimedOut"
    assert assembled.bucket.keys("out/") == []


@pytest.mark.parametrize(
    ("image", "code", "said"),
    [
        ({"entrypoint": ["/no/such"]}, 127, "cannot start '/no/such': no such file in the image"),
        ({"entrypoint": ["/etc/passwd"]}, 126, "cannot start '/etc/passwd': it is not executable"),
        ({"entrypoint": ["/bin/true"], "working_dir": "/etc/passwd/x"}, 126, "cannot start '/etc/passwd/x'"),
        ({"entrypoint": ["/bin/sh", "-c", "kill -9 $$"]}, None, ""),
        ({"entrypoint": ["/bin/sh", "-c", "exit 42"]}, 42, ""),
    ],
)
def test_how_a_program_ended_is_told(
    assembled: Function, image: dict[str, object], code: int | None, said: str
) -> None:
    ran = run_job(assembled, None, image=image)
    assert ran.returncode == 1
    assert summary(ran).get("exit_code") == code
    assert said in ran.stdout


@needs_bwrap
def test_script_cannot_write_to_the_runners_own_output(assembled: Function) -> None:
    ran = run_job(
        assembled,
        '#!/bin/sh\nif echo forged > "/proc/$PPID/fd/1"; then exit 3; fi\nexit 0\n',
        prefix=READ_ONLY,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "forged" not in ran.stdout.splitlines()


def test_broken_image_configuration_is_the_deployments_fault(assembled: Function) -> None:
    ran = run_job(assembled, "#!/bin/sh\n", image={"env": [1]})
    assert ran.returncode == 2
    assert "image_config.json: env: expected a list of strings" in ran.stdout


RUN_LATE_AND_IN_TIME = """
import sys, time
from dataclasses import replace
from pathlib import Path
from containers.errors import ExplainedError
from containers.image.config import ImageConfig
from runtime import job
from runtime.assembled import EnclosingImage
from runtime.config import FunctionConfig
from runtime.events.invocation import Invocation
from runtime.logs import Log

started = Path(sys.argv[1], "started")
config = FunctionConfig(
    name="f", execution_mode="lambda", log_level="INFO", timeout_s=60, timeout_threshold_s=5,
    init_script=None, extra_payload=None, image=None, container_environment={}, inputs=(), outputs=(),
    batch=None, assembled=EnclosingImage(ImageConfig(entrypoint=("/bin/touch", str(started)))),
)
for deadline in (time.monotonic() - 1, time.monotonic() + 30):
    setting = job.JobSetting(config, {"SCAR_STORE": sys.argv[1]}, "r", deadline, Log(), False)
    try:
        job.run_job(Invocation(event={}, time=""), setting)
    except ExplainedError as error:
        print(error, file=sys.stderr)
    print("started" if started.exists() else "not started", file=sys.stderr)
"""


def test_a_container_is_not_started_when_its_time_is_up(tmp_path: Path) -> None:
    """In a process of its own: the direct engine ends all that its process has started."""
    done = subprocess.run(
        [sys.executable, "-c", RUN_LATE_AND_IN_TIME, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said, *states = done.stderr.splitlines()
    assert "timed out" in said and "before the container was started" in said
    assert states == ["not started", "started"]
