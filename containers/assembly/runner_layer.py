"""The layer that makes an image run on Lambda and in Batch: a Python of its own with `runtime/`, in
`/.scar/python`.

The same interpreter gives the same bytes, so that a registry keeps one such layer for all functions:
entries are sorted and have no times or owners, bytecode is compiled without references (whose marks
depend on what else the process holds) and names no path of this machine. Bytecode is "unchecked" (PEP
552): it is taken as it is. Sources are left out."""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import platform
import sys
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path

from containers.assembly.interpreter import Interpreter, find_interpreter, stripped
from containers.assembly.layer_writer import Entry, LayerWriter, PackedLayer, sort_key

PYTHON = "/.scar/python"
"""Where the interpreter is in the image."""

FLAGS = ("-I", "-X", "utf8", "-m", "runtime")
"""Isolated: neither the image's variables nor its working directory have any influence."""

_VERSION = 1  # of what is packed how: part of the fingerprint
_UNCHECKED_HASH = 1
_MARSHAL_WITHOUT_REFERENCES = 2

_SITECUSTOMIZE = '''\
"""Where OpenSSL finds certificates: it was built for another file system than the image's."""
import os

if "SSL_CERT_FILE" not in os.environ:
    for _path in (
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
        os.path.join(os.path.dirname(__file__), "botocore", "cacert.pem"),
    ):
        if os.access(_path, os.R_OK):
            os.environ["SSL_CERT_FILE"] = _path
            break
'''


class Runner:
    """The runner's layer of one interpreter: what it is called, how it is started, and the layer itself.

    `find` is called when the interpreter is needed for the first time: looking for its files takes a tenth of
    a second, in which the user's layers can already be on their way.
    """

    def __init__(self, find: Callable[[], Interpreter]) -> None:
        self._find = find

    @cached_property
    def _interpreter(self) -> Interpreter:
        return self._find()

    @property
    def entry_point(self) -> tuple[str, ...]:
        """What starts the runner in an assembled image."""
        library = f"{PYTHON}/lib"
        loader = f"{library}/{self._interpreter.loader}"
        return (loader, "--library-path", library, f"{PYTHON}/bin/python3", *FLAGS)

    def fingerprint(self) -> str:
        """A digest of all that decides the layer's bytes; known much sooner than they are."""
        found = hashlib.sha256()
        found.update(f"{_VERSION} {sys.version} {platform.machine()} {_SITECUSTOMIZE} {FLAGS}".encode())
        for name, path in sorted(self._interpreter.files.items()):
            found.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return found.hexdigest()

    def pack(self) -> PackedLayer:
        """The layer."""
        root = PYTHON.removeprefix("/")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        custom = f"{root}/lib/{version}/site-packages/sitecustomize.py"
        files: dict[str, Path | None] = {
            f"{root}/{name}": path for name, path in self._interpreter.files.items()
        }
        files[custom] = None
        writer = LayerWriter()
        for name in sorted(files, key=sort_key):
            path = files[name]
            writer.add(_entry(name, _SITECUSTOMIZE.encode() if path is None else path.read_bytes()))
        return writer.finish()


@cache
def this_runner() -> Runner:
    """The runner of the interpreter that this process runs on."""
    return Runner(find_interpreter)


def _entry(name: str, content: bytes) -> Entry:
    if name.endswith(".py"):
        return _compiled(name, content)
    content = stripped(content)
    return Entry(name, content, 0o755 if content.startswith(b"\x7fELF") else 0o644)


def _compiled(name: str, source: bytes) -> Entry:
    code = compile(source, f"/{name}", "exec", dont_inherit=True, optimize=0)
    header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH.to_bytes(4, "little")
    content = header + importlib.util.source_hash(source) + marshal.dumps(code, _MARSHAL_WITHOUT_REFERENCES)
    return Entry(f"{name}c", content, 0o644)
