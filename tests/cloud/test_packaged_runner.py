"""The runner as it is packaged, in a jail like AWS Lambda's: no namespaces, no mounts, no programs on the
PATH, everything read-only but a /tmp of 512 MB, nobody's rights."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scar_constructs.functions.runner_asset import build_runner
from tests.cloud.embedded import CloudUnderTest
from tests.function_configs import function_config
from tests.interpreters import find_python
from tests.oci_images import File, Image, host_shell_layer, push, tar_of
from tests.registry_server import REGISTRY_PROGRAM, real_registry

pytestmark = pytest.mark.cloud

BWRAP = shutil.which("bwrap")
FAKECHROOT = next(iter(sorted(Path("/usr/lib").glob("*/fakechroot/libfakechroot.so"))), None)
TMP_BYTES = 512 << 20
NOBODY = 65534
SCRIPT = """#!/bin/sh
set -e
setsid sleep 300 > /dev/null 2>&1 < /dev/null &
show "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/copy"
/etc/alternatives/show /etc/os-release > "$TMP_OUTPUT_DIR/release"
ls /tmp /usr/bin > "$TMP_OUTPUT_DIR/files"
echo x > /tmp/left
{ unshare -r true || echo x > /usr/left || echo no; } > "$TMP_OUTPUT_DIR/refused" 2>&1
"""


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that anybody may read: `layer` as its zip is unpacked, with udocker's tools from a tarball
    (Debian's fakechroot stands in for them), and `function`."""
    if BWRAP is None or FAKECHROOT is None or REGISTRY_PROGRAM is None or os.geteuid() != 0:
        pytest.skip("needs root and the packages bubblewrap, libfakechroot and docker-registry")
    work = tmp_path_factory.mktemp("packaged")
    library = FAKECHROOT.read_bytes()
    with tarfile.open(work / "tools.tar.gz", "w:gz") as tarball:
        name = f"udocker_dir/lib/libfakechroot-Debian-12-{os.uname().machine.replace('aarch64', 'arm64')}.so"
        info = tarfile.TarInfo(name)
        info.size = len(library)
        tarball.addfile(info, io.BytesIO(library))
    build_runner(work / "content", work / "tools.tar.gz")
    public = Path(tempfile.mkdtemp(prefix="scar-packaged-"))
    shutil.copytree(work / "content", public / "layer")
    shutil.copy(Path(__file__).with_name("packaged_runner.py"), public)
    (public / "function").mkdir()
    (public / "python").mkdir()
    subprocess.run(["chmod", "-R", "a+rX", str(public)], check=True)
    yield public
    shutil.rmtree(public)


def write_function(folder: Path, bucket: str) -> None:
    config = function_config("jailed", "jailed/debian", bucket, init_script="init_script")
    (folder / "function_config.json").write_text(json.dumps(config))
    (folder / "init_script").write_text(SCRIPT)
    (folder / "init_script").chmod(0o755)


def jail(
    public: Path, python: Path, place: str, variables: dict[str, str], arguments: list[str]
) -> list[str]:
    """A command line that puts the packaged runner where AWS Lambda would have it."""
    assert BWRAP is not None
    prefix = python.parent.parent
    outer: list[str] = []
    program = str(python)
    if prefix.is_relative_to(Path.home()):  # nobody else may read it there
        outer = [BWRAP, "--dev-bind", "/", "/", "--ro-bind", str(prefix), str(public / "python")]
        program = f"{place}/python/bin/{python.name}"
        variables = {**variables, "LD_LIBRARY_PATH": f"{place}/python/lib"}
    function = f"{place}/function"
    variables = {**variables, "LAMBDA_TASK_ROOT": function, "PATH": "/nowhere"}
    return [
        *outer,
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"),
        *(BWRAP, "--unshare-user", "--disable-userns", "--unshare-pid", "--clearenv"),
        *("--ro-bind", "/", "/", "--dev", "/dev", "--size", str(TMP_BYTES), "--tmpfs", "/tmp"),
        *("--ro-bind", str(public), place, "--proc", "/proc", "--chdir", function),
        *(part for name, value in variables.items() for part in ("--setenv", name, value)),
        *(program, "-I", "-S", f"{place}/packaged_runner.py", f"{place}/layer", *arguments),
    ]


def s3_event(bucket: str, key: str) -> str:
    record = {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "eventTime": "2026-11-22T08:00:00.000Z",
        "awsRegion": "us-east-1",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 5}},
    }
    return json.dumps({"Records": [record]})


@pytest.mark.parametrize(("version", "place"), [("3.11", "/srv"), ("3.13", "/media")])
def test_packaged_runner_processes_files_in_a_jail_like_lambdas(
    version: str, place: str, packaged: Path, cloud: CloudUnderTest, tmp_path: Path
) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    bucket = f"jailed-{uuid.uuid4().hex[:8]}"
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=bucket)
    for name in ("a", "b"):
        s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=b"hello")
    write_function(packaged / "function", bucket)
    with real_registry(tmp_path) as registry:
        more = tar_of([File("usr/bin/added", b"#!/bin/sh\n", 0o755)])
        push(registry, "jailed/debian", "latest", Image([host_shell_layer(), more]))
        credentials = {name: value for name, value in cloud.environment().items() if name.startswith("AWS_")}
        mirrors = {"SCAR_REGISTRY_MIRRORS": f"docker.io={registry}"}
        events = [s3_event(bucket, "in/a"), s3_event(bucket, "in/b")]
        command = jail(packaged, python, place, credentials | mirrors, events)
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "bwrap:" in done.stderr:
        pytest.skip(f"bubblewrap cannot make such a jail here: {done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, last = done.stdout.splitlines()
    told = json.loads(last)

    for run in told["runs"]:
        assert run["answer"]["results"][0]["status"] == "done"

    def output(name: str) -> str:
        content: bytes = s3.get_object(Bucket=bucket, Key=f"out/{name}")["Body"].read()
        return content.decode()

    assert output("copy") == "hello"
    assert output("release") == 'ID=debian\nVERSION_ID="12"\n'
    assert "added" in output("files").split()
    assert "left" not in output("files").split(), "of the run before"
    assert output("refused").endswith("no\n")

    logged = [json.loads(line) for line in lines]
    summaries: list[dict[str, Any]] = [line for line in logged if line["message"] == "summary"]
    assert [line["engine"] for line in summaries] == ["fakechroot", "fakechroot"]
    assert [line["image_cached"] for line in summaries] == [False, True]
    first, second = (run["prepared_at"] for run in told["runs"])
    assert first == second is not None, "the image is prepared once"
    assert told["user"] == NOBODY
    assert told["processes"] == told["run_folders"] == []
    assert told["peak_kib"] < 120 << 10
    if version == "3.13":
        assert told["unpacker"].startswith(f"{place}/layer/python/lib/python3.13/site-packages/")
