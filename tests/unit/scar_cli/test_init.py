"""`scar init`, `diff`, `rm` and `completion`: what they refuse and ask before any cloud is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from scar_cli import completion, init, rm
from scar_cli.cdk import SynthesizedStack, _stacks
from scar_cli.deployed import workflow_of
from scar_cli.errors import UserError


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "There is nothing to deploy"),
        (["-n", "f"], "There is nothing to deploy"),
        (["-f", "a.yaml", "-m", "512"], "-f says everything"),
        (["-n", "f", "-i", "busybox", "-e", "SECRET"], "-e SECRET has no value"),
        (["-f", "a.yaml", "-c", "removal"], "-c removal is no context value"),
        (["-f", "a.yaml", "-c", "fdl=b.yaml"], "-c fdl is what -f says"),
    ],
)
def test_flags_that_make_no_sense_are_refused(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(init.command, arguments)
    assert isinstance(result.exception, UserError)
    assert said in str(result.exception)


@pytest.mark.parametrize("arguments", [[], ["-a", "-f", "a.yaml"], ["-n", "f", "--stack", "s"]])
def test_rm_wants_to_know_what_and_only_once(arguments: list[str]) -> None:
    result = CliRunner().invoke(rm.command, arguments)
    assert isinstance(result.exception, UserError)
    assert "There has to be one of -f, -n, --stack and -a" in str(result.exception)


def test_flags_become_an_fdl_file(tmp_path: Path) -> None:
    (tmp_path / "s.sh").write_text("#!/bin/sh\n")
    with init._file(
        None,
        name="f",
        image="busybox",
        script=str(tmp_path / "s.sh"),
        memory=256,
        timeout=30,
        environment=("A=b=c",),
    ) as file:
        (function,) = workflow_of(file).functions
        assert Path(file).stem == "f"
    assert (function.name, function.memory_mib, function.timeout_s) == ("f", 256, 30)
    assert function.init_script == tmp_path / "s.sh"
    assert dict(function.container.environment) == {"A": "b=c"}


def test_stacks_and_their_buckets_are_read_from_the_assembly(tmp_path: Path) -> None:
    template = {
        "Resources": {
            "A": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "mine"}},
            "B": {"Type": "AWS::S3::Bucket"},
            "C": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "q"}},
        }
    }
    (tmp_path / "one.template.json").write_text(json.dumps(template))
    artifacts = {
        name: {
            "type": "aws:cloudformation:stack",
            "environment": f"aws://unknown-account/{region}",
            "properties": {"templateFile": "one.template.json", "stackName": name},
        }
        for name, region in (("here", "unknown-region"), ("there", "eu-west-1"))
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"artifacts": {"Tree": {"type": "x"}, **artifacts}}))
    assert _stacks(tmp_path) == [
        SynthesizedStack("here", None, ("mine",)),
        SynthesizedStack("there", "eu-west-1", ("mine",)),
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell: str) -> None:
    result = CliRunner().invoke(completion.command, [shell])
    assert f"_SCAR_COMPLETE={shell}_complete" in result.output


def test_a_shell_that_is_not_known_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    result = CliRunner().invoke(completion.command, [])
    assert isinstance(result.exception, UserError)
