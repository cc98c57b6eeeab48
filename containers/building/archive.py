"""An image archive from a folder, Python packages and files of the host, in one step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from containers.building.bytecode import with_bytecode
from containers.building.errors import BuildError
from containers.building.host_files import add_python, base_system
from containers.building.host_folder import SEARCH_PATH, find_program, folder_layer, merged
from containers.building.layer_files import LayerFiles
from containers.building.layout import ImageSettings, architecture, write_archive, write_layout
from containers.building.python_packages import packages_layer


@dataclass(frozen=True, slots=True)
class ImageContent:
    """The content of an image, in addition to a small Linux userland of the host."""

    folder: Path | None = None
    """Its files become those of the image, from `/`."""
    python: bool = False
    """Add the host's Python; packages do that, too."""
    packages: Sequence[str] = ()
    """In the syntax of `pip install`."""
    requirements: Sequence[Path] = ()
    """Requirements files of pip."""
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    """Without it and an entry point: a shell."""
    working_dir: str = ""
    """Absolute; empty: a temporary one for each run."""


@dataclass(frozen=True, slots=True)
class BuiltArchive:
    """An image archive that was written."""

    path: Path
    size_bytes: int
    digest: str
    """Of the manifest."""
    architecture: str
    """`amd64` or `arm64`."""


def build_archive(content: ImageContent, output: Path, progress: Callable[[str], None]) -> BuiltArchive:
    """Build an image and write it as an OCI archive, completely or not at all.

    The same content gives the same bytes. Scratch files are in a folder next to `output`.

    Args:
        content: What the image has.
        output: The archive; an older one is replaced.
        progress: Called with a description of each step.

    Raises:
        BuildError: Something cannot be in the image.
        OSError: The archive cannot be written.
    """
    prefix = f".{output.name}-"
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=prefix) as name:
        scratch = Path(name)
        layers = _layers(content, scratch, progress)
        settings = ImageSettings(
            {"PATH": SEARCH_PATH, "LANG": "C.UTF-8", **content.environment},
            content.command or ([] if content.entrypoint else ["/bin/sh"]),
            content.entrypoint,
            content.working_dir,
        )
        program = [*content.entrypoint, *settings.command][0]
        if find_program(merged(layers), program, settings.environment["PATH"]) is None:
            raise BuildError(
                f"the image has no program {program}", "Put it into the folder, for example in usr/bin"
            )
        progress("Writing the image …")
        digest = write_layout(scratch / "layout", layers, settings)
        write_archive(scratch / "layout", scratch / "archive")
        size = (scratch / "archive").stat().st_size
        (scratch / "archive").replace(output)
    return BuiltArchive(output, size, digest, architecture())


def _layers(content: ImageContent, scratch: Path, progress: Callable[[str], None]) -> list[LayerFiles]:
    """The layers from bottom to top; those that seldom change are the lower ones."""
    layers = [base_system()]
    packages = bool(content.packages or content.requirements)
    if content.python or packages:
        python = LayerFiles()
        program = add_python(python)
        above = []
        if packages:
            progress("Installing packages with pip …")
            (scratch / "packages").mkdir()
            root = packages_layer(content.packages, content.requirements, program, scratch / "packages")
            above.append(root.without(layers[0]).without(python))
        progress("Adding Python …")
        for number, layer in enumerate([python.without(layers[0]), *above]):
            (scratch / f"bytecode-{number}").mkdir()
            layers.append(with_bytecode(layer, scratch / f"bytecode-{number}"))
    if content.folder is not None:
        progress(f"Adding {content.folder} …")
        layers.append(folder_layer(content.folder, layers))
    working_dir = content.working_dir.strip("/")
    if working_dir and working_dir not in merged(layers):
        layers.append(LayerFiles())
        layers[-1].add_folder(working_dir)
    return layers
