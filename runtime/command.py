"""What runs in the container, by the rules of Docker and the kernel.

1. a script sent with the invocation (with the arguments sent with it), else
2. arguments sent with the invocation: they replace the image's `CMD`, after its `ENTRYPOINT`, else
3. the function's `init_script`, else
4. the image's own `ENTRYPOINT` and `CMD`.

A script runs under the interpreter of its shebang if the image has it, else under `/bin/sh`. The interpreter
is resolved here instead of by the kernel, because every engine can start a program by its path in the image.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from containers.errors import ErrorKind, ExplainedError
from containers.image.config import ImageConfig
from containers.paths import resolve_in_root
from runtime.config import FunctionConfig
from runtime.events.invocation import Invocation

SHELL = "/bin/sh"
ELF = b"\x7fELF"


def script_of(invocation: Invocation, config: FunctionConfig) -> bytes | None:
    """The script to run, or None: the one in the event, or the function's own (arguments in the event replace
    it)."""
    if invocation.script is not None:
        return invocation.script
    if invocation.arguments is None and config.init_script is not None:
        return config.init_script.read_bytes()
    return None


def write_script(content: bytes, target: Path) -> bool:
    """Write a script where the container can start it. Returns whether its line endings were converted.

    A script whose first line ends with CR LF was saved on Windows. No Unix shell can read it, so it is
    converted, and a byte order mark before the shebang is removed.
    """
    first, _, _ = content.partition(b"\n")
    from_windows = first.endswith(b"\r") and not content.startswith(ELF)
    if from_windows:
        content = content.replace(b"\r\n", b"\n")
    target.write_bytes(content.removeprefix(b"\xef\xbb\xbf"))
    target.chmod(0o755)
    return from_windows


def prepare_argv(
    root: Path,
    image: ImageConfig,
    script: Path | None,
    arguments: Sequence[str] | None,
    environment: Mapping[str, str],
) -> list[str]:
    """The program and its arguments, with paths in the image.

    `script` is the path, the same outside and inside. Raises `ExplainedError` (`NoCommand`, `NoInterpreter`).
    """
    if script is not None:
        return [*_interpreter(root, script, environment), str(script), *(arguments or ())]
    argv = [*image.entrypoint, *(image.cmd if arguments is None else arguments)]
    if not argv:
        raise ExplainedError(
            "There is nothing to run: no script was given, and the image has neither ENTRYPOINT nor CMD",
            advice="Give the function an `init_script`.",
            kind=ErrorKind.NO_COMMAND,
        )
    return argv


def _interpreter(root: Path, script: Path, environment: Mapping[str, str]) -> list[str]:
    with script.open("rb") as file:
        start = file.read(512)
    if start.startswith(ELF):
        return []
    words = _shebang(start)
    if words:
        name, *rest = words
        if PurePosixPath(name).name == "env":
            found = _of_env(root, name, rest, environment)
        else:
            found = words if name.startswith("/") and _is_program(root, name) else None
        if found:
            return found
    if not _is_program(root, SHELL):
        raise ExplainedError(
            f"The image has neither the script's interpreter ({' '.join(words) or 'none named'}) nor {SHELL}",
            advice="Use an image with a shell, or omit `init_script` to run the image's entry point.",
            kind=ErrorKind.NO_INTERPRETER,
        )
    return [SHELL]


def _shebang(start: bytes) -> list[str]:
    """The interpreter, and everything after it as one argument, as the kernel parses them."""
    if not start.startswith(b"#!"):
        return []
    line = start[2:].partition(b"\n")[0].strip(b" \t\r")
    return [os.fsdecode(word).strip() for word in line.split(None, 1)]


def _of_env(root: Path, env: str, rest: list[str], environment: Mapping[str, str]) -> list[str] | None:
    """`#!/usr/bin/env bash`, `#!/usr/bin/env -S bash -e`: whether the program itself exists."""
    words = rest[0].split() if rest else []
    if words[:1] == ["-S"]:
        words = words[1:]
    if not words or words[0].startswith("-") or "=" in words[0]:
        return [env, *rest] if _is_program(root, env) else None
    program = _in_path(root, words[0], environment.get("PATH", ""))
    if program is None:
        return None
    return [env, *rest] if _is_program(root, env) else [program, *words[1:]]


def _in_path(root: Path, program: str, path: str) -> str | None:
    if "/" in program:
        return program if _is_program(root, program) else None
    candidates = (f"{folder.rstrip('/')}/{program}" for folder in path.split(":") if folder.startswith("/"))
    return next((candidate for candidate in candidates if _is_program(root, candidate)), None)


def _is_program(root: Path, path: str) -> bool:
    found = resolve_in_root(root, path)
    return found is not None and found.is_file() and bool(found.stat().st_mode & 0o111)
