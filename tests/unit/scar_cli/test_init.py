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
        (["-n", "f", "-i", "busybox", "-if", "image.tar"], "There is nothing to deploy"),
        (["-f", "a.yaml", "-m", "512"], "Leave out --memory"),
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


def test_flags_become_an_fdl_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.sh").write_text("#!/bin/sh\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").touch()
    monkeypatch.chdir(tmp_path)
    words = (
        "-n f -i busybox -s s.sh -d text -m 256 -t 60 -tt 7 -e A=b=c -le CONT=1 -ib bucket/in -ob bucket/out "
        "-em batch -bm 4096 -bc 1 -r arn:aws:iam::123456789012:role/mine -ll DEBUG -ep data -db staging "
        "-l arn:aws:lambda:us-east-1:123456789012:layer:tools:3 -api doors -ph"
    )
    context = init.command.make_context("init", words.split())
    others = ("fdl", "stack", "bucket_suffix", "values", "yes")
    flags = {name: value for name, value in context.params.items() if name not in others}
    with init._file(None, flags) as file:
        assert Path(file).stem == "f"
        (function,) = workflow_of(file).functions
    assert (function.name, function.description) == ("f", "text")
    assert (function.memory_mib, function.timeout_s, function.container.timeout_threshold_s) == (256, 60, 7)
    assert function.init_script == tmp_path / "s.sh"
    assert function.extra_payload == tmp_path / "data"
    assert dict(function.container.environment) == {"A": "b=c"}
    assert dict(function.environment) == {"CONT": "1"}
    assert [str(entry) for entry in (*function.inputs, *function.outputs)] == ["bucket/in", "bucket/out"]
    assert function.batch is not None
    assert (function.execution_mode, function.batch.memory_mib, function.batch.vcpus) == ("batch", 4096, 1)
    assert function.role_arn == "arn:aws:iam::123456789012:role/mine"
    assert function.layer_arns == ("arn:aws:lambda:us-east-1:123456789012:layer:tools:3",)
    assert (function.log_level, function.deployment_bucket, function.preheat) == ("DEBUG", "staging", True)
    assert function.api_gateway is not None
    assert function.api_gateway.name == "doors"


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
