"""Completion in a shell: real bash on a terminal, and the values that a shell is given."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete

from scar_cli import completions
from scar_cli.commands.launch import command as scar_launch
from scar_cli.completions import FILES, VALUES, add_completion
from scar_cli.main import scar

BIN = Path(sys.executable).parent
FREE_TEXT = {
    "api_gateway_name",
    "bucket_suffix",
    "cmd",
    "codes",
    "description",
    "entrypoint",
    "environment",
    "iam_role",
    "image",
    "image_size",
    "lambda_environment",
    "layers",
    "match",
    "newer_than",
    "other",
    "packages",
    "parameters",
    "rate",
    "region",
    "request_id",
    "runtime",
    "since",
    "size",
    "until",
    "stream",
    "supervisor_version",
    "values",
    "variables",
    "workdir",
}
FDL = """functions:
  aws:
  - lambda: {name: grayify, container: {image: busybox}}
  - lambda: {name: count, container: {image: busybox}}
"""


@pytest.fixture(autouse=True)
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow.yaml").write_text(FDL)
    (tmp_path / "a folder").mkdir()
    return tmp_path


def test_every_parameter_completes_or_is_free_text() -> None:
    context = click.Context(scar)
    commands = [scar_launch, *(scar.get_command(context, verb) for verb in scar.list_commands(context))]
    nested = [one for command in commands for one in getattr(command, "commands", {"": command}).values()]
    names = {
        parameter.name
        for command in nested
        for parameter in command.params
        if isinstance(parameter.type, click.types.StringParamType)
    }
    assert names == FILES | set(VALUES) | FREE_TEXT


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    from scar_cli.aws.deployed import DeployedFunction, DeployedStack

    function = DeployedFunction(
        "grayify", "pictures", "us-east-1", "lambda", "/aws/lambda/grayify", "", inputs=("photos/in",)
    )
    stack = DeployedStack("pictures", "us-east-1", "CREATE_COMPLETE", "w", (function,), ("photos",), "dev")
    monkeypatch.setattr(completions, "_stacks", lambda: [stack])


def values(*words: str, program: click.Command = scar) -> list[str]:
    add_completion(program)
    *words_before, incomplete = words
    return [
        item.value for item in BashComplete(program, {}, "x", "X").get_completions(words_before, incomplete)
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("log", "-n", ""), ["grayify"]),
        (("log", "-n", "x"), []),
        (("rm", "--stack", "pic"), ["pictures"]),
        (("get", "-b", ""), ["photos", "photos/in"]),
        (("ls", ""), ["grayify", "photos", "photos/in"]),
        (("status", "--stage", ""), ["dev"]),
        (("init", "-em", ""), ["batch", "lambda", "lambda-batch"]),
        (("run", "-f", "workflow.yaml", "-n", ""), ["count", "grayify"]),
        (("new", "gr"), []),
        (("explain", "FDL01"), [f"FDL01{digit}" for digit in range(10)]),
        (("local", "st"), ["start", "stop", "status"]),
    ],
)
@pytest.mark.usefixtures("deployed")
def test_values_are_what_is_deployed(words: tuple[str, ...], expected: list[str]) -> None:
    assert sorted(values(*words)) == sorted(expected)


@pytest.mark.usefixtures("deployed")
def test_scar_launch_completes_too() -> None:
    assert values("-n", "", program=scar_launch) == ["grayify"]
    assert values("--bucket-path", "photos/", program=scar_launch) == ["photos/in"]
    assert "--distributed" in values("--d", program=scar_launch)


def test_without_credentials_there_are_no_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    assert values("log", "-n", "") == []


class Bash:
    """An interactive bash with the completion script."""

    def __init__(self, folder: Path) -> None:
        own, theirs = pty.openpty()
        self._terminal = own
        environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "TERM": "dumb",
            "HOME": str(folder),
            "PS1": "> ",
        }
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.type('bind "set bell-style none"; eval "$(scar completion bash)"; echo rea""dy\n', "ready")

    def type(self, text: str, awaited: str) -> str:
        """What appears on the terminal, up to the awaited text."""
        os.write(self._terminal, text.encode())
        seen = ""
        until = time.monotonic() + 20
        while awaited not in seen:
            assert select.select([self._terminal], [], [], max(0.0, until - time.monotonic()))[0], seen
            seen += os.read(self._terminal, 4096).decode()
        return seen

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)


@pytest.fixture
def bash(workflow: Path) -> Iterator[Bash]:
    shell = Bash(workflow)
    yield shell
    shell.close()


def test_bash_completes_commands_files_and_functions_of_both_programs(bash: Bash) -> None:
    for typed, completed in (
        ("echo $(true) scar; scar stat\t", "scar status "),
        ("scar init -f work\t", "scar init -f workflow.yaml "),
        ("scar put -p a\t", r"scar put -p a\ folder/"),
        ("scar validate w\t", "scar validate workflow.yaml "),
        ("scar run -f workflow.yaml -n gr\t", "scar run -f workflow.yaml -n grayify "),
        ("scar-launch -f w\t", "scar-launch -f workflow.yaml "),
        ("scar-launch --distr\t", "scar-launch --distributed "),
    ):
        bash.type(typed, completed)
        bash.type("\x15", "")  # forget the line
