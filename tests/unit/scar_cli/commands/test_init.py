"""`scar init`, `diff`, `rm` and `completion`: what they refuse and ask before any cloud is needed."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import click
import pytest
from click.testing import CliRunner

from scar_cli.aws.deployed import DeployedFunction, DeployedStack, workflow_of
from scar_cli.commands import completion, diff, init, rm
from scar_cli.deployment import cdk
from scar_cli.deployment.cdk import SynthesizedStack, _stacks
from scar_cli.errors import UserError


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Nothing to deploy"),
        (["-n", "f"], "Nothing to deploy"),
        (["-n", "f", "-i", "busybox", "-if", "image.tar"], "Nothing to deploy"),
        (["-f", "a.yaml", "-m", "512"], "Omit --memory"),
        (["-n", "f", "-i", "busybox", "-e", "SECRET"], "-e SECRET has no value"),
        (["-f", "a.yaml", "-c", "removal"], "Invalid context value: -c removal"),
        (["-f", "a.yaml", "-c", "fdl=b.yaml"], "-c fdl is not supported here"),
    ],
)
def test_flags_that_make_no_sense_are_refused(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(init.command, arguments)
    assert isinstance(result.exception, UserError)
    assert said in str(result.exception)


@pytest.mark.parametrize("verb", [init.command, diff.command])
def test_an_archive_without_an_image_is_told_before_any_cloud_is_asked(
    verb: click.Command, tmp_path: Path
) -> None:
    (tmp_path / "image.tar").write_text("not an archive")
    file = tmp_path / "f.yaml"
    file.write_text("functions: {aws: [{lambda: {name: f, container: {image_file: image.tar}}}]}\n")
    result = CliRunner().invoke(verb, ["-f", str(file)])
    assert result.exit_code == 2
    assert f"{file}:1:62: error FDL038: `image_file` `image.tar` is not a tar file" in result.output


@pytest.mark.parametrize("arguments", [[], ["-a", "-f", "a.yaml"], ["-n", "f", "--stack", "s"]])
def test_rm_wants_to_know_what_and_only_once(arguments: list[str]) -> None:
    result = CliRunner().invoke(rm.command, arguments)
    assert isinstance(result.exception, UserError)
    assert "Exactly one of -f, -n, --stack and -a is required" in str(result.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-i busybox -m 99", "-m 99: error FDL015: "),
        ("-i busybox -em batch -bm 12", "-bm 12: error FDL033: "),
        ("-i busybox -ib a..b/in", "-ib a..b/in: error FDL026: "),
        ("-i busybox -le 1=secret", "-le 1: error "),
        ("-i busybox -r me", "-r me: error FDL016: "),
        ("-if /none.tar", "-if /none.tar: error FDL022: "),
    ],
)
def test_an_invalid_flag_is_named_instead_of_a_file(words: str, said: str) -> None:
    result = CliRunner().invoke(init.command, ["-n", "f", *words.split()])
    assert result.exit_code == 2
    assert result.stderr.startswith(said)
    assert "yaml" not in result.stderr
    assert "the FDL file" not in result.stderr
    assert "secret" not in result.stderr


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


@pytest.mark.parametrize(
    ("inputs", "api_url", "said"),
    [
        ((), None, "To run it:  scar run -n f"),
        (("b/in",), None, "To run it:  scar put -b b/in -p FILE"),
        ((), "https://id.execute-api.eu-west-1.amazonaws.com/scar/launch", "To call it:  scar invoke -n f"),
    ],
)
def test_the_next_step_and_the_url_are_shown_after_a_deployment(
    inputs: tuple[str, ...], api_url: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lambda_ = SimpleNamespace(meta=SimpleNamespace(endpoint_url="https://lambda.eu-west-1.amazonaws.com"))
    monkeypatch.setattr(init, "client", lambda *_name, **_settings: lambda_)
    function = DeployedFunction(
        "f", "s", "eu-west-1", "lambda", "/aws/lambda/f", "https://q", inputs=inputs, api_url=api_url
    )
    url = f"\n  URL: {api_url}" if api_url else ""
    assert init._next_step(function) == said + url


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


def interrupted(*_words: object, **_more: object) -> None:
    raise KeyboardInterrupt


def test_an_interruption_tells_that_a_deployment_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(init, "synthesized", lambda *_words: nullcontext((Path("cdk.out"), [])))
    monkeypatch.setattr(init, "deploy", interrupted)
    with pytest.raises(click.Abort):
        init.command.main(["-f", "w.yaml"], standalone_mode=False)
    assert "CloudFormation continues the deployment." in capsys.readouterr().err


def test_an_interruption_tells_that_a_deletion_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cloudformation = mock.Mock()
    cloudformation.describe_stacks.return_value = {"Stacks": [{"StackId": "arn", "StackStatus": ""}]}
    monkeypatch.setattr(rm, "client", lambda *_words, **_more: cloudformation)
    monkeypatch.setattr(rm, "_wait_until_gone", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rm.delete(DeployedStack("mine", "us-east-1", "CREATE_COMPLETE", "mine", (), ()))
    cloudformation.delete_stack.assert_called_once_with(StackName="mine")
    assert capsys.readouterr().err == "CloudFormation continues to delete mine.\n"


def test_what_synthesis_says_is_shown_at_its_end_but_not_after_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process = mock.Mock(returncode=1)
    process.communicate.return_value = ("the reason\n", None)
    monkeypatch.setattr(cdk, "_started", lambda *_words, **_more: nullcontext(process))
    assert cdk._synth(("synth",)) == 1
    assert capsys.readouterr().err == "the reason\n"
    process.communicate.side_effect = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        cdk._synth(("synth",))
    assert capsys.readouterr().err == ""
