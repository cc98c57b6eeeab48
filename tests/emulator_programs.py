"""Programs that run on ministack, each in a process of its own, because our extensions change it for good."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def result_of(program: str, *arguments: str) -> Any:
    """Run a program; returns the value of its last line of output, which is JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def result_in_block(start: str, statements: str, *arguments: str) -> Any:
    """The `result` of statements, which are put into the block that `start` opens at its end."""
    block = "\n".join(f"    {line}" for line in statements.strip().splitlines())
    return result_of(f"{start}{block}\n    print(json.dumps(result))", *arguments)
