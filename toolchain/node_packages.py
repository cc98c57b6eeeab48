"""The npm packages of `package-lock.json`: the CDK CLI; Graphviz and a font for `scar graph`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from toolchain.downloads import fetched, run_download
from toolchain.errors import DownloadError
from toolchain.node import bundled_node, npm_program

_HERE = Path(__file__).resolve().parent


def node_packages() -> Path:
    """The folder `node_modules`.

    Raises:
        DownloadError: npm is missing or cannot install the packages.
    """
    lock, what = _HERE / "package-lock.json", "the CDK CLI and Graphviz"
    return fetched("node-packages", lock, what, _install, _node_and_npm) / "node_modules"


def _node_and_npm() -> tuple[Path, Path]:
    node, npm = bundled_node(), npm_program()
    if node is None or npm is None:
        raise DownloadError('Node is missing. Install it with pip: pip install "scar-cdk[deploy]"')
    return node, npm


def _install(folder: Path) -> None:
    node, npm = _node_and_npm()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_HERE / name, folder)
    options = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    run_download([str(node), str(npm), "ci", *options], folder, environment, "the CDK CLI with npm")
