"""The command `cdk`: the locked CDK CLI, on the Node of this environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from toolchain.errors import DownloadError
from toolchain.node import any_node
from toolchain.node_packages import node_packages


def cdk_command(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The command and its environment, in which `scar-app` and `python3` are those of this environment.

    Raises:
        DownloadError: the CDK CLI cannot be fetched.
    """
    program = node_packages() / "aws-cdk" / "bin" / "cdk"
    node = any_node()
    if node is None:
        raise DownloadError('Node is missing. Install it with pip: pip install "scar-cdk[deploy]"')
    path = os.pathsep.join([str(Path(sys.executable).parent), str(node.parent), os.environ.get("PATH", "")])
    return [str(node), str(program), *arguments], {**os.environ, "PATH": path, "JSII_NODE": str(node)}


def main() -> None:
    """Become the CDK CLI."""
    try:
        command, environment = cdk_command(sys.argv[1:])
    except DownloadError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    os.execve(command[0], command, environment)  # noqa: S606 - a list of arguments, no shell
