"""Python packages for an image, installed by pip into a folder of their own.

pip runs with the Python of the image, so that compiled packages match it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from containers.building.errors import BuildError
from containers.building.host_files import add_libraries, python_library
from containers.building.layer_files import LayerFiles

_SCRIPTS = "usr/local/bin"
_NOT_IN_AN_IMAGE = {"direct_url.json", "REQUESTED"}
"""The source of a package on the host, and whether the user requested it."""
_SHOWN_LINES = 5


def packages_layer(
    packages: Sequence[str], requirements: Sequence[Path], python: str, scratch: Path
) -> LayerFiles:
    """The packages and their dependencies, below the `site-packages` of the image's Python.

    Args:
        packages: Names, versions, paths or URLs, as for `pip install`.
        requirements: Files, as for `pip install -r`.
        python: Path of Python in the image.
        scratch: An empty folder, which must exist until the layer is written.

    Raises:
        BuildError: pip is missing or fails.
        HostFilesError: A package needs a shared library that the host does not have.
    """
    for package in packages:
        # Stops a name from being read as an option of pip, such as one that names another index.
        if package.startswith("-"):
            raise BuildError(f"'{package}' is not a package", "Specify a package, a path or a URL")
    _install([*packages, *(word for file in requirements for word in ("-r", str(file)))], scratch)
    layer = LayerFiles()
    library = f"{python_library()}/site-packages"
    for file in sorted(scratch.rglob("*")):
        path = PurePosixPath(file.relative_to(scratch).as_posix())
        if not file.is_file() or "__pycache__" in path.parts or path.name in _NOT_IN_AN_IMAGE:
            continue
        if path.parts[0] == "bin":
            layer.add_content(f"{_SCRIPTS}/{path.name}", _script(file.read_bytes(), python), 0o755)
        elif path.name == "RECORD" and path.parent.suffix == ".dist-info":
            # It has the digests of scripts, which name the Python that ran pip.
            lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
            layer.add_content(f"{library}/{path}", "".join(one for one in lines if not one.startswith("../")))
        else:
            layer.add_file(f"{library}/{path}", file)
    # The site module of Debian and Ubuntu searches `dist-packages` instead of `site-packages`.
    customize = f"import site\n\nsite.addsitedir({f'/{library}'!r})\n"
    layer.add_content(f"{python_library()}/sitecustomize.py", customize)
    compiled = [file for file in sorted(scratch.rglob("*.so")) if not file.parent.name.endswith(".libs")]
    add_libraries(layer, compiled, own=scratch.resolve())
    return layer


def _script(content: bytes, python: str) -> bytes:
    first, newline, rest = content.partition(b"\n")
    return (
        f"#!{python}\n".encode() + rest
        if first.startswith(b"#!") and b"python" in first
        else first + newline + rest
    )


def _install(words: Sequence[str], target: Path) -> None:
    if find_spec("pip") is None:
        raise BuildError("pip is not installed", "Install it: pip install 'scar-cdk[deploy]'")
    options = (
        "--target",
        str(target),
        "--no-compile",
        "--no-input",
        "--disable-pip-version-check",
        "--quiet",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        said = lines or (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise BuildError(
            "pip cannot install the packages: " + " ".join(said[-_SHOWN_LINES:]).rstrip(". "),
            "Check the names and versions, the network and the proxy settings",
        )
