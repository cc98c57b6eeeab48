"""The `scar` command as a process: help, versions, exit codes, and never a traceback."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

from scar_cli.main import scar as scar_command


def scar(
    *arguments: str, stdout: Any = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SCAR_"))}
    return subprocess.run(
        [sys.executable, "-m", "scar_cli", *arguments],
        env={**clean, "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent", **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_names_every_verb_and_loads_nothing_slow() -> None:
    """Of `scar` and of each verb: the AWS SDK alone would take a third of a second."""
    program = """
import sys
from click.testing import CliRunner
from scar_cli import main

def helped(*words):
    shown = CliRunner().invoke(main.scar, [*words, "--help"])
    assert shown.exit_code == 0, (words, shown.output)
    return shown.output

text = helped()
assert all(f"  {verb} " in text for verb in main._VERBS), text
print(sorted({"boto3", "botocore", "rich", "yaml", "aws_cdk", "fdl_schemas", "local_cloud", "urllib.request"}
             & set(sys.modules)))
for verb in main._VERBS:
    assert "Examples:" in helped(verb), verb
print(sorted({"boto3", "botocore", "rich", "yaml", "aws_cdk", "ministack", "jsonschema"} & set(sys.modules)))
"""
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (shown.stdout, shown.stderr) == ("[]\n[]\n", "")


def test_the_examples_of_the_help_are_understood() -> None:
    for verb in scar_command.list_commands(click.Context(scar_command)):
        command = scar_command.get_command(click.Context(scar_command), verb)
        assert command is not None
        lines = [line.strip() for line in (command.epilog or "").splitlines()]
        examples = [re.split(r" [|>] ", line)[0] for line in lines if line.startswith("scar ")]
        for example in examples:
            _scar, name, *words = shlex.split(example)
            assert name in (verb, "init"), example
            command.make_context(name, words)


COMMON = "-pf --profile"
CHOSEN = f"{COMMON} -n --name -f --conf-file"
OUTPUT = "-j --json -v --verbose"
FLAGS_OF_SCAR = {
    "init": f"{CHOSEN} {OUTPUT} -i --image -if --image-file -s --init-script -ph --preheat "
    "-ep --extra-payload -db --deployment-bucket -api --api-gateway-name -d --description -e --environment "
    "-le --lambda-environment -m --memory -t --timeout -tt --timeout-threshold -ll --log-level -l --layers "
    "-ib --input-bucket -ob --output-bucket -em --execution-mode -r --iam-role -sv --supervisor-version "
    "-rt --runtime -bm --batch-memory -bc --batch-vcpus -g --enable-gpu",
    "invoke": f"{CHOSEN} -a --asynchronous -o --output-file "
    "-db --data-binary -jd --json-data -p --parameters",
    "run": f"{CHOSEN} {OUTPUT} -a --asynchronous -o --output-file -s --run-script -ib --input-bucket",
    "rm": f"{CHOSEN} {OUTPUT} -a --all",
    "ls": f"{COMMON} {OUTPUT} -b --bucket",
    "log": f"{CHOSEN} -ls --log-stream-name -ri --request-id",
    "put": f"{COMMON} -b --bucket -p --path",
    "get": f"{COMMON} -b --bucket -p --path",
}
"""Of SCAR 4.3.1: scar/parser/cli/subparsers.py and parents.py."""


@pytest.mark.parametrize("verb", FLAGS_OF_SCAR)
def test_every_flag_of_scar_is_known(verb: str) -> None:
    command = scar_command.get_command(click.Context(scar_command), verb)
    assert command is not None
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    assert set(FLAGS_OF_SCAR[verb].split()) <= known


def test_the_version_is_shown() -> None:
    assert scar("--version").stdout.startswith("scar 0.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("put",), "Missing option"),
        (
            ("put", "-b", "bucket", "-p", "/does/not/exist"),
            "/does/not/exist does not exist. Check the spelling.",
        ),
        (("put", "-b", "bucket", "-p", ""), "The path of -p is empty. Specify a file or folder to upload."),
        (("put", "-b", "a b", "-p", "/dev/null"), "'a b' is not a valid bucket name."),
        (("local", "start", "--port", "70000"), "70000"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_with_exit_code_2(
    arguments: tuple[str, ...], said: str
) -> None:
    done = scar(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_reads_any_more_is_no_error_to_tell_of(unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = scar("--help", stdout=writer, PYTHONUNBUFFERED=unbuffered)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_said_in_one_sentence(unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = scar("--help", stdout=full, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr == "scar: Something could not be read or written: No space left on device.\n"


def test_a_closed_standard_output_swallows_what_is_said() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "scar_cli", "validate", "-"],
        input="functions: {aws: [{lambda: {name: f, container: {image: busybox}}}]}",
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_terminal_s_encoding_lacks_is_shown_escaped(tmp_path: Path) -> None:
    (tmp_path / "😀").touch()
    done = scar("put", "-b", "bucket", "-p", str(tmp_path), "--dry-run", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert "\\U0001f600 \\u2192 s3://bucket/\\U0001f600" in done.stdout


def test_missing_credentials_are_explained(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    done = scar("put", "-b", "bucket", "-p", str(tmp_path / "a"), AWS_REGION="us-east-1")
    assert done.returncode == 2
    assert done.stderr.startswith("scar: No AWS credentials were found. Run `aws configure`")


def test_a_profile_wins_over_keys_in_the_environment(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    done = scar("ls", "-pf", "nobody", AWS_CONFIG_FILE=str(tmp_path / "none"), **keys)
    assert done.returncode == 2
    assert "The config profile (nobody) could not be found" in done.stderr


def test_the_region_is_what_aws_region_says() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    done = scar("ls", AWS_REGION="eu-west-1", AWS_ENDPOINT_URL="http://127.0.0.1:9", **keys)
    assert "Cannot connect to http://127.0.0.1:9" in done.stderr


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        (
            "http://127.0.0.1:9",
            "Cannot connect to http://127.0.0.1:9. To use the embedded cloud: `scar local start`",
        ),
        ("https://no-such-host.invalid", "Cannot connect to https://no-such-host.invalid. Check"),
        ("127.0.0.1:9", "Invalid endpoint: 127.0.0.1:9. Set AWS_ENDPOINT_URL to a URL"),
    ],
)
def test_a_cloud_that_does_not_answer_is_explained_at_once(tmp_path: Path, endpoint: str, said: str) -> None:
    (tmp_path / "a").touch()
    without_proxies = {name: "" for name in os.environ if name.lower().endswith("_proxy")}
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", **without_proxies}
    arguments = ("put", "-b", "bucket", "-p", str(tmp_path / "a"))
    started = time.monotonic()
    done = scar(*arguments, AWS_REGION="us-east-1", AWS_ENDPOINT_URL=endpoint, **keys)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert time.monotonic() - started < 20


def test_a_dry_run_needs_no_cloud(tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("1234")
    done = scar("put", "-b", "bucket/in", "-p", str(tmp_path), "--dry-run", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["files"] == [
        {"path": str(tmp_path / "a b.txt"), "key": "in/a b.txt", "bytes": 4}
    ]


def test_validate_tells_right_from_wrong(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(
        "functions:\n  aws:\n  - lambda:\n      name: f\n      container: {image: grycap/cowsay}\n"
    )
    bad.write_text("functions:\n  aws:\n  - lambda:\n      name: f\n      colour: red\n")
    done = scar("validate", str(good), str(bad))
    assert done.returncode == 2
    assert done.stdout == f"{good}: valid, 1 function\n"
    assert f"{bad}:5:" in done.stderr
    answers = json.loads(scar("validate", "--json", str(good), str(bad)).stdout)
    assert [answer["valid"] for answer in answers] == [True, False]
    assert answers[0]["functions"] == ["f"]
    assert scar("validate", str(good)).returncode == 0


def test_a_package_of_an_extra_that_is_missing_is_named() -> None:
    program = (
        "import sys; sys.modules['boto3'] = None; sys.argv[1:] = ['ls']\n"
        "from scar_cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "scar: this needs boto3, which is not installed. Install it: pip install 'scar-cdk[aws]'\n"
    )
