"""The changes that an image needs so that an unprivileged user can run it on AWS Lambda, as a small layer.

Lambda runs every image as the same unprivileged user, whatever `USER` says, and the process can only read and
run what all users may. Only files of the entry point are changed: the modes of directories on the path to it,
and of small programs. The mode of a large program cannot be changed without copying it. Then the image has a
`problem`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from containers.assembly.file_tree import Directory, FileTree
from containers.assembly.layer_report import NotedFile
from containers.assembly.layer_writer import Entry, PackedLayer, pack

USER, USER_ID, GROUP_ID = "sbx_user1051", 993, 990
"""The user that Lambda runs image functions as (seen with `id` there; AWS documents "a default Linux
user with least-privileged permissions")."""

_HOME = "/tmp"  # noqa: S108 - the only folder that this user may write to
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MAXIMUM_DEPTH = 8
_READ, _EXECUTE = 4, 1


@dataclass(frozen=True)
class Corrections:
    """The layer, or None if no changes are needed; and the problem that no layer can correct."""

    layer: PackedLayer | None
    problem: str


def correct(tree: FileTree, config: Mapping[str, Any], what: str) -> Corrections:
    """Determine the corrections for the image of `tree`. `config` is the image's configuration."""
    correction = _Correction(tree, config.get("config") or {}, what)
    correction.folders()
    correction.entry_point()
    correction.users()
    entries = list(correction.entries.values())
    return Corrections(pack(entries) if entries else None, correction.problem)


class _Correction:
    def __init__(self, tree: FileTree, config: Mapping[str, Any], what: str) -> None:
        self._tree = tree
        self._what = what
        self._working_dir = config.get("WorkingDir") or "/"
        variables = dict(line.partition("=")[::2] for line in config.get("Env") or ())
        self._path = [folder for folder in (variables.get("PATH") or _DEFAULT_PATH).split(":") if folder]
        command = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]
        self._program = command[0] if command else ""
        self.entries: dict[str, Entry] = {}
        self.problem = ""

    def folders(self) -> None:
        """The working directory, and those on the search path of programs."""
        for folder in (self._working_dir, *self._path):
            self._enter(folder)

    def entry_point(self) -> None:
        """The program that the image runs by itself, its `#!` line's, and their dynamic loader."""
        if self._program:
            self._run(self._program, 0)

    def users(self) -> None:
        """Lines for Lambda's user, so that programs that ask who they are get an answer."""
        self._add_line("etc/passwd", USER_ID, f"{USER}:x:{USER_ID}:{GROUP_ID}::{_HOME}:/bin/sh")
        self._add_line("etc/group", GROUP_ID, f"{USER}:x:{GROUP_ID}:")

    def _add_line(self, path: str, number: int, line: str) -> None:
        text = self._tree.text(path)
        if text is None:
            if self._tree.look_up(path) is not None or not isinstance(
                self._tree.look_up("etc") or Directory(None), Directory
            ):
                return  # a link, or larger than any such file: it is not changed
            text = "root:x:0:0:root:/root:/bin/sh\n" if path == "etc/passwd" else "root:x:0:\n"
        rows = [row.split(":") for row in text.splitlines()]
        if any(row[2:] and (row[2] == str(number) or row[0] == USER) for row in rows):
            return
        text += "" if not text or text.endswith("\n") else "\n"
        content = f"{text}{line}\n".encode("utf-8", "surrogateescape")
        self._put(Entry(path, content, 0o644))

    def _enter(self, path: str) -> None:
        for name, found in self._tree.walk(path):
            if isinstance(found, Directory):
                self._open_folder(name, found.node)

    def _open_folder(self, path: str, node: NotedFile | None) -> None:
        if path and node is not None and not allowed(node, _EXECUTE):
            self._put(Entry(path, None, node.mode | 0o005, uid=node.uid, gid=node.gid))

    def _run(self, program: str, depth: int) -> None:
        if depth > _MAXIMUM_DEPTH:
            return
        for candidate in self._candidates(program):
            *way, (path, found) = self._tree.walk(candidate)
            if found is None or isinstance(found, Directory):
                continue
            for name, on_the_way in way:
                if isinstance(on_the_way, Directory):
                    self._open_folder(name, on_the_way.node)
            if isinstance(found, NotedFile):
                self._open_program(path, found)
                words = found.interpreter
                if words:
                    self._run(words[0], depth + 1)
                    if len(words) > 1 and words[0].endswith("/env"):
                        asked = [word for word in words[1].split() if not word.startswith("-")]
                        if asked:
                            self._run(asked[0], depth + 1)
            return

    def _candidates(self, program: str) -> Sequence[str]:
        if program.startswith("/"):
            return (program,)
        if "/" in program:
            return (f"{self._working_dir}/{program}",)
        return [f"{folder}/{program}" for folder in self._path]

    def _open_program(self, path: str, node: NotedFile) -> None:
        wanted = _EXECUTE | (_READ if node.script else 0)
        if allowed(node, wanted) or path in self.entries:
            return
        if node.content is not None:
            content = base64.b64decode(node.content)
            self._put(Entry(path, content, (node.mode | 0o005) & 0o777, uid=node.uid, gid=node.gid))
        elif not self.problem:
            self.problem = (
                f"'/{path}' of {self._what}, which its entry point needs, has mode "
                f"{node.mode & 0o7777:04o}: the unprivileged user of AWS Lambda cannot "
                f"{'read and ' if node.script else ''}run it"
            )

    def _put(self, entry: Entry) -> None:
        """Add to the layer, with the image's own attributes for the folders on the way."""
        self.entries[entry.path] = entry
        parent = entry.path.rpartition("/")[0]
        if parent and parent not in self.entries:
            found = self._tree.look_up(parent)
            node = found.node if isinstance(found, Directory) else None
            self._put(Entry(parent, None, node.mode, uid=node.uid, gid=node.gid) if node else Entry(parent))


def allowed(node: NotedFile, wanted: int) -> bool:
    """Whether Lambda's user has the rights `wanted` (4 to read, 1 to run or enter) on `node`."""
    if node.uid == USER_ID:
        bits = node.mode >> 6
    elif node.gid == GROUP_ID:
        bits = node.mode >> 3
    else:
        bits = node.mode
    return bits & wanted == wanted
