"""Deployments whose assembler is killed: each ends well or with one message, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
import time
from pathlib import Path

from tests.chaos.workload import Workload
from tests.cloud.cdk_cli import Cdk

_LONGEST_WAIT_S = 3.0
"""Until the kill; an assembly takes a few seconds."""
_FDL = """functions:
  aws:
  - lambda:
      name: {name}
      timeout: 60
      init_script: hello.sh
      container: {{image_file: busybox.tar}}
"""


def kill_assemblers(workload: Workload, folder: Path, rounds: int, seed: int) -> list[int]:
    """Deploy and delete a stack `rounds` times; 1 for each round that ended in any other way than it may."""
    chance = random.Random(seed)
    (folder / "hello.sh").write_text("#!/bin/sh\necho hello\n")
    return [_round(workload, folder, number, chance) for number in range(1, rounds + 1)]


def _round(workload: Workload, folder: Path, number: int, chance: random.Random) -> int:
    name = f"assembly-{number:02}"
    file = folder / f"{name}.yaml"
    file.write_text(_FDL.format(name=name))
    before = _repositories(workload)
    cdk = Cdk(workload.environment(), folder / f"{name}.out")
    codes: list[int] = []
    deployment = threading.Thread(
        target=lambda: codes.append(cdk("deploy", file, check=False).returncode), daemon=True
    )
    deployment.start()
    kills = _kill(name, deployment, chance)
    deployment.join()
    cloudformation = workload.client("cloudformation")
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    messages = [
        event["ResourceStatusReason"]
        for event in events
        if event["ResourceStatus"] == "CREATE_FAILED" and "cancelled" not in event["ResourceStatusReason"]
    ]
    works = codes == [0] and _says_hello(workload, name)
    cdk("destroy", file)
    well = (works if codes == [0] else len(messages) == 1) and _repositories(workload) == before
    told = "deployed" if codes == [0] else f"failed: {messages}"
    print(f"assembly {number:2}: {kills} kills, {told}{'' if well else ', WRONG'}", flush=True)
    return 0 if well else 1


def _kill(stack: str, deployment: threading.Thread, chance: random.Random) -> int:
    """Kill each invocation of the assembler at a random moment, but for every third."""
    kills = 0
    while deployment.is_alive():
        found = _assemblers(stack)
        if found:
            time.sleep(chance.random() * _LONGEST_WAIT_S)
            for process in found:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                kills += 1
            if chance.random() < 1 / 3:
                break
        time.sleep(0.02)
    return kills


def _assemblers(stack: str) -> list[int]:
    mark = re.compile(rb"AWS_LAMBDA_FUNCTION_NAME=%s\S*Assembler" % stack.encode())
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if mark.search((folder / "environ").read_bytes()):
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def _repositories(workload: Workload) -> set[str]:
    listed = workload.client("ecr").describe_repositories()["repositories"]
    return {repository["repositoryName"] for repository in listed}


def _says_hello(workload: Workload, function: str) -> bool:
    answer = workload.client("lambda").invoke(FunctionName=function, Payload=json.dumps({}))
    return "FunctionError" not in answer and b"hello" in answer["Payload"].read()
