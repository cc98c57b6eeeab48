from __future__ import annotations

from pathlib import Path

import pytest

from containers.errors import ExplainedError
from containers.image.config import ImageConfig
from runtime.command import prepare_argv, write_script

PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image with sh, bash and env, where /bin is a symlink to usr/bin as in Debian."""
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    for name in ("sh", "bash", "env"):
        (root / "usr/bin" / name).touch(mode=0o755)
    (root / "usr/bin/python3").symlink_to("/etc/alternatives/python3")
    (root / "etc/alternatives").mkdir(parents=True)
    (root / "etc/alternatives/python3").symlink_to("/usr/bin/python3.11")
    (root / "usr/bin/python3.11").touch(mode=0o755)
    (root / "usr/bin/not-executable").touch(mode=0o644)
    return root


@pytest.mark.parametrize(
    ("first_line", "interpreter"),
    [
        ("#!/bin/sh", ["/bin/sh"]),
        ("#! /bin/sh", ["/bin/sh"]),
        ("#!\t/bin/bash -e  ", ["/bin/bash", "-e"]),
        ("#!/bin/bash -e -x", ["/bin/bash", "-e -x"]),
        ("#!/usr/bin/env bash", ["/usr/bin/env", "bash"]),
        ("#!/usr/bin/env -S bash -e", ["/usr/bin/env", "-S bash -e"]),
        ("#!/usr/bin/env python3", ["/usr/bin/env", "python3"]),
        ("#!/usr/bin/python3", ["/usr/bin/python3"]),
        ("#!/usr/bin/perl", ["/bin/sh"]),
        ("#!/usr/bin/env perl", ["/bin/sh"]),
        ("#!/usr/bin/not-executable", ["/bin/sh"]),
        ("#!/usr/bin", ["/bin/sh"]),
        ("#!bash", ["/bin/sh"]),
        ("#!/../../../bin/bash", ["/../../../bin/bash"]),
        ("#!", ["/bin/sh"]),
        ("echo no shebang", ["/bin/sh"]),
        ("", ["/bin/sh"]),
    ],
)
def test_script_runs_under_its_interpreter_or_the_shell(
    first_line: str, interpreter: list[str], root: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    write_script(f"{first_line}\necho hi\n".encode(), script)
    assert prepare_argv(root, ImageConfig(entrypoint=("ignored",)), script, None, PATH) == [
        *interpreter,
        str(script),
    ]


def test_program_of_env_is_started_directly_where_env_is_missing(root: Path, tmp_path: Path) -> None:
    (root / "usr/bin/env").unlink()
    script = tmp_path / "script"
    write_script(b"#!/usr/bin/env -S bash -e\n", script)
    assert prepare_argv(root, ImageConfig(), script, ("a b",), PATH) == [
        "/usr/bin/bash",
        "-e",
        str(script),
        "a b",
    ]


def test_static_program_as_script_is_started_itself(root: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    write_script(b"\x7fELF\x02\r\n\x01", script)
    assert prepare_argv(root, ImageConfig(), script, None, PATH) == [str(script)]


def test_image_without_a_shell_cannot_run_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script"
    write_script(b"#!/bin/bash\n", script)
    with pytest.raises(ExplainedError, match=r"neither the script's interpreter .*bin/bash.* nor /bin/sh"):
        prepare_argv(tmp_path, ImageConfig(), script, None, PATH)


@pytest.mark.parametrize(
    ("content", "written"),
    [
        (b"#!/bin/sh\r\necho a\r\n", b"#!/bin/sh\necho a\n"),
        (b"\xef\xbb\xbf#!/bin/sh\necho a\n", b"#!/bin/sh\necho a\n"),
        (b"#!/bin/sh\nprintf 'a\r\n'\n", b"#!/bin/sh\nprintf 'a\r\n'\n"),
        (b"\x7fELF\r\n\x00\r\n", b"\x7fELF\r\n\x00\r\n"),
    ],
)
def test_script_from_windows_is_made_readable(content: bytes, written: bytes, tmp_path: Path) -> None:
    assert write_script(content, tmp_path / "script") == (content.startswith(b"#!/bin/sh\r"))
    assert (tmp_path / "script").read_bytes() == written
    assert (tmp_path / "script").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("image", "arguments", "argv"),
    [
        (ImageConfig(entrypoint=("a", "b"), cmd=("c",)), None, ["a", "b", "c"]),
        (ImageConfig(entrypoint=(), cmd=("c", "d")), None, ["c", "d"]),
        (ImageConfig(entrypoint=("a",), cmd=()), None, ["a"]),
        (ImageConfig(entrypoint=("a",), cmd=("c",)), ("x", "y z"), ["a", "x", "y z"]),
        (ImageConfig(entrypoint=(), cmd=("c",)), ("x",), ["x"]),
        (ImageConfig(entrypoint=("a",), cmd=("c",)), (), ["a"]),
    ],
)
def test_entry_point_and_command_are_joined_as_docker_does(
    image: ImageConfig, arguments: tuple[str, ...] | None, argv: list[str], root: Path
) -> None:
    assert prepare_argv(root, image, None, arguments, PATH) == argv


def test_image_with_nothing_to_run_is_refused(root: Path) -> None:
    with pytest.raises(ExplainedError, match="neither ENTRYPOINT nor CMD"):
        prepare_argv(root, ImageConfig(), None, None, PATH)
