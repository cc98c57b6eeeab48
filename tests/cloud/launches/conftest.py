"""One stack for all tests of launches that need one: a deployment takes most of their time."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import examples, oci_images
from tests.cloud.deployments import deploy
from tests.cloud.embedded import SCAR, CloudUnderTest, ended

LAUNCH = [sys.executable, "-c", "from scar_cli.commands.launch import main; main()"]
BUCKET = "launch-files"
DISTRIBUTED = "distributed-files"
SCRIPT = """#!/bin/sh
name=${INPUT_FILE_PATH##*/}
if grep -q bad "$INPUT_FILE_PATH"; then echo "$name is bad"; exit 7; fi
cp -- "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/${name%.*}-copy.out"
"""


def forged(folder: str) -> bytes:
    """Summaries of two files that went well, in all shapes that might be believed."""
    lines = [
        f'{{{mark}"time": "2026-11-22T08:00:00.000Z", "level": "INFO", "message": "summary", '
        f'"request_id": "r", "subject": "s3://{BUCKET}/{folder}/{number}.txt", "status": "done"}}'
        for number in (1, 2)
        for mark in ("", '"scar": 1, ')
    ]
    shapes = ["\n".join(lines), "\r".join(["", *lines, ""]), "\x85".join(lines), "\u2028".join(lines)]
    shapes += [line.replace("{", gap) for line in lines for gap in ("{\0", "\0{", "\ufeff{", "{\x1b")]
    shapes += ["x" * size + line for line in lines[-1:] for size in (16 * 1024, 64 * 1024, 256 * 1024 - 26)]
    return "\n".join([*shapes, *lines]).encode()


def forger(folder: str) -> str:
    """A script that writes them on both of its outputs, and fails but for one file."""
    packed = base64.b64encode(gzip.compress(forged(folder))).decode()
    return f"""#!/bin/sh
forged() {{ echo {packed} | busybox base64 -d | busybox gunzip; }}
forged >&2
forged
case $INPUT_FILE_PATH in */0.txt) exit 0;; esac
exit 7
"""


FDL = f"""functions:
  aws:
  - lambda:
      name: launch-copy
      timeout: 60
      init_script: copy.sh
      container: {{image: "busybox:1.37"}}
      input: [{{storage_provider: s3, path: {BUCKET}/in}}]
      output: [{{storage_provider: s3, path: {BUCKET}/out}}]
  - lambda:
      name: launch-job
      execution_mode: batch
      init_script: copy.sh
      container: {{image: "busybox:1.37"}}
      input: [{{storage_provider: s3, path: {BUCKET}/jobs}}]
      output: [{{storage_provider: s3, path: {BUCKET}/job-out}}]
    batch: {{attempts: 1}}
  - lambda:
      name: launch-forger
      timeout: 60
      init_script: forge.sh
      container: {{image: "busybox:1.37"}}
      input: [{{storage_provider: s3, path: {BUCKET}/forge}}]
  - lambda:
      name: launch-forging-job
      execution_mode: batch
      init_script: forge-job.sh
      container: {{image: "busybox:1.37"}}
      input: [{{storage_provider: s3, path: {BUCKET}/forge-job}}]
    batch: {{attempts: 1}}
  - lambda:
      name: launch-large
      execution_mode: batch
      init_script: large.sh
      container: {{image: "busybox:1.37"}}
      input: [{{storage_provider: s3, path: {BUCKET}/large}}]
      output: [{{storage_provider: s3, path: {BUCKET}/large-out}}]
    batch: {{vcpus: 0.25, memory: 512, attempts: 3, retry: [{{memory: 1024}}]}}
  - lambda:
      name: launch-quiet
      log_level: ERROR
      container: {{image: "busybox:1.37"}}
      input: [{{storage_provider: s3, path: {BUCKET}/quiet}}]
  - lambda:
      name: distributed-copy
      timeout: 60
      init_script: plain-copy.sh
      container: {{image: "busybox:1.37"}}
      input:
        - {{storage_provider: s3, path: {DISTRIBUTED}/in, suffix: .txt}}
        - {{storage_provider: s3, path: {DISTRIBUTED}/more}}
      output: [{{storage_provider: s3, path: {DISTRIBUTED}/out}}]
"""
WANTED = ("in/a.txt", "in/b b+c%.txt", "in/deep/ü 😀.txt", "in/x'\"$(id)!*~()&=?#.txt", "more/d.jpg")
"""Keys of `DISTRIBUTED` that are processed."""
OTHERS = ("in/", "in/deep/", "in/picture.jpg", "elsewhere/e.txt", "in.txt")
FILES = {
    **{f"{folder}/{n}.txt": b"x" for folder in ("forge", "forge-job") for n in range(3)},
    "in/": b"",
    "in/a.txt": b"good",
    "in/b b.txt": b"good",
    "in/bad.txt": b"bad",
    "in/deep/c+ü.txt": b"good",
    "in/empty.txt": b"",
    "jobs/1.txt": b"good",
    "jobs/2-bad.txt": b"bad",
    "jobs/3.txt": b"good",
    "large/1.txt": b"1",
    "large/2-large.txt": b"2",
    "wrong/bad.txt": b"bad",
}


@dataclass(frozen=True)
class Deployed:
    """The stack, whose buckets held the files before."""

    cloud: CloudUnderTest
    fdl: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*LAUNCH, *arguments],
            env=self.cloud.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def launch(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        process = self.start("-f", str(self.fdl), *arguments)
        output, errors = process.communicate(timeout=120)
        assert process.returncode == code, f"{process.returncode}\n{output}\n{errors}"
        assert "Traceback" not in errors
        return output, errors

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.launch(*arguments, "--json", code=code)[0])

    def waiting_failures(self, function: str) -> int:
        done = subprocess.run(
            [*SCAR, "status", "-n", function, "-j"],
            env=self.cloud.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return int(json.loads(done.stdout)["functions"][0]["failure_queue"])


@pytest.fixture(scope="session")
def deployed(cloud: CloudUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    if not examples.busybox_layers():
        pytest.skip("a static busybox is needed (Debian: apt install busybox-static)")
    folder = tmp_path_factory.mktemp("launch")
    oci_images.write_layout(folder / "docker.io" / "library" / "busybox", {"1.37": examples.busybox_image()})
    (folder / "copy.sh").write_text(SCRIPT)
    (folder / "large.sh").write_text(
        "#!/bin/sh\n"
        "case $INPUT_FILE_PATH in *large*) dd if=/dev/zero of=/dev/null bs=700M count=1 || exit;; esac\n"
        'cp "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"\n'
    )
    (folder / "plain-copy.sh").write_text('#!/bin/sh\ncp -- "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"\n')
    for name in ("forge", "forge-job"):
        (folder / f"{name}.sh").write_text(forger(name))
    fdl = folder / "launching.yaml"
    fdl.write_text(FDL)
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    for key, body in FILES.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    s3.create_bucket(Bucket=DISTRIBUTED)
    for key in WANTED:
        s3.put_object(Bucket=DISTRIBUTED, Key=key, Body=key.encode())
    for key in (*OTHERS, "in/empty.txt"):
        s3.put_object(Bucket=DISTRIBUTED, Key=key, Body=b"" if key.endswith(("/", "empty.txt")) else b"1")
    deploy(
        cloud,
        folder / "cdk.out",
        fdl=str(fdl),
        registry_mirrors=f"docker.io=file://{folder / 'docker.io'}",
        existing_buckets=f"{BUCKET},{DISTRIBUTED}",
        distributed_launch="true",
    )
    deployed = Deployed(cloud, fdl)
    with ended(deployed.started):
        yield deployed
