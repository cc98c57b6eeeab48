"""The layer with which an image runs on Lambda and in Batch: a separate Python with `runtime/`, in
`/.scar/python`.

The same interpreter gives the same bytes, so that a registry keeps one such layer for all functions:
entries are sorted and have no times or owners, bytecode is compiled without references (whose marks depend on
other objects of the process) and contains no path of this machine. Bytecode is "unchecked" (PEP 552): it is
loaded without a check. Sources are left out."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import marshal
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache, cached_property
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

from containers.assembly.interpreter import Interpreter, find_interpreter, stripped
from containers.assembly.layer_writer import Entry, LayerWriter, PackedLayer, packed_layer, sort_key

PYTHON = "/.scar/python"
"""Where the interpreter is in the image."""

FLAGS = ("-I", "-X", "utf8", "-m", "runtime")
"""Isolated: neither the image's variables nor its working directory have any influence."""

_VERSION = 1  # of the format: part of the fingerprint
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
    """The runner's layer of one interpreter: its name, its start command, and the layer itself.

    `find` is called when the interpreter is needed for the first time: searching its files takes a tenth of a
    second, in which the transfer of the user's layers can already start. The layer is kept in the folder
    `cache`, which must be private: on the embedded cloud, functions of several stacks are assembled on one
    machine.
    """

    def __init__(self, find: Callable[[], Interpreter], cache: Path | None = None) -> None:
        self._find = find
        self._cache = cache

    @cached_property
    def _interpreter(self) -> Interpreter:
        return self._find()

    @property
    def entry_point(self) -> tuple[str, ...]:
        """The command that starts the runner in an assembled image."""
        library = f"{PYTHON}/lib"
        loader = f"{library}/{self._interpreter.loader}"
        return (loader, "--library-path", library, f"{PYTHON}/bin/python3", *FLAGS)

    def fingerprint(self) -> str:
        """A digest of all that decides the layer's bytes; known much sooner than they are."""
        found = hashlib.sha256()
        python = f"{sys.version} {sys.flags.optimize} {platform.machine()}"
        found.update(f"{_VERSION} {python} {_SITECUSTOMIZE} {FLAGS}".encode())
        for name, path in sorted(self._interpreter.files.items()):
            found.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return found.hexdigest()

    def pack(self) -> PackedLayer:
        """The layer. Of several processes that need it at once, the first packs it for all."""
        if self._cache is None:
            return self._pack()
        prefix = f"scar-runner-{self.fingerprint()}"
        with (self._cache / f"{prefix}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for kept in self._cache.glob(f"{prefix}-*.tar.gz"):
                diff_id = kept.name.removeprefix(f"{prefix}-").removesuffix(".tar.gz")
                return packed_layer(kept.read_bytes(), diff_id)
            packed = self._pack()
            unfinished = self._cache / f"{prefix}.unfinished"
            with suppress(OSError):  # a full disk
                unfinished.write_bytes(packed.content)
                unfinished.rename(self._cache / f"{prefix}-{packed.diff_id}.tar.gz")
            return packed

    def _pack(self) -> PackedLayer:
        root = PYTHON.removeprefix("/")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        custom = f"{root}/lib/{version}/sitecustomize.py"
        files: dict[str, Path | None] = {
            f"{root}/{name}": path for name, path in self._interpreter.files.items()
        }
        files[custom] = None
        writer = LayerWriter()
        for name in sorted(files, key=sort_key):
            path = files[name]
            if path is None:
                source = _SITECUSTOMIZE.encode()
                writer.add(_bytecode(name, source, compile(source, name, "exec", dont_inherit=True)))
            else:
                writer.add(_entry(name, path))
        return writer.finish()


@cache
def this_runner(cache: Path | None = None) -> Runner:
    """The runner of the interpreter that this process runs on."""
    return Runner(find_interpreter, cache)


class _Source(SourceFileLoader):
    """Uses the bytecode that Python has stored next to a source, if it is up to date, and compiles
    otherwise."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of the source."""
        code = super().get_code(fullname)
        if code is None:
            raise ImportError(f"{self.path} has no code")
        return code

    def set_data(self, path: str, data: Any, *, _mode: int = 0) -> None:
        """Nothing is written there."""


def _entry(name: str, path: Path) -> Entry:
    content = path.read_bytes()
    if name.endswith(".py"):
        return _bytecode(name, content, _Source(path.stem, str(path)).get_code(path.stem))
    content = stripped(content)
    return Entry(name, content, 0o755 if content.startswith(b"\x7fELF") else 0o644)


def _bytecode(name: str, source: bytes, code: CodeType) -> Entry:
    header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH.to_bytes(4, "little")
    packed = marshal.dumps(_at(f"/{name}", code), _MARSHAL_WITHOUT_REFERENCES)
    return Entry(f"{name}c", header + importlib.util.source_hash(source) + packed, 0o644)


def _at(path: str, code: CodeType) -> CodeType:
    """The code, and all that is defined in it, as if compiled from that path."""
    constants = (_at(path, one) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_filename=path, co_consts=tuple(constants))
