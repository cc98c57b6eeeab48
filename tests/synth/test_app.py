"""The app as the cdk command starts it: a program with context in its environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from scar_constructs import interpreter
from scar_constructs.deployment import cdk_context
from tests.synth.conftest import REPOSITORY, SEED


def synth(
    folder: Path,
    *,
    variables: Mapping[str, str] | None = None,
    **context: str,
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """The finished app, and the names of the templates that it wrote. It stays off the network."""
    out = folder / "cdk.out"
    run = subprocess.run(
        [sys.executable, "app.py"],
        cwd=REPOSITORY,
        env={
            **os.environ,
            **(variables or {}),
            "CDK_OUTDIR": str(out),
            "CDK_CONTEXT_JSON": json.dumps({"udocker_tools": "none", **context}),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return run, [path.name for path in out.glob("*.template.json")]


def test_seed_is_synthesized_without_a_word(tmp_path: Path) -> None:
    run, templates = synth(tmp_path, fdl=str(SEED))
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert templates == ["scar-video-process.template.json"]


def test_context_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    run, templates = synth(tmp_path)
    assert run.returncode == 2
    assert run.stderr.startswith("error: no FDL file given: add -c fdl=FILE")
    assert run.stderr.count("\n") == 1
    assert templates == []


def test_context_that_does_not_fit_the_workflow_is_one_line(
    tmp_path: Path,
) -> None:
    run, templates = synth(tmp_path, fdl=str(SEED), existing_buckets="other")
    assert run.returncode == 2
    expected = "-c existing_buckets: other not used by scar-video-process.yaml; its buckets are scar-video"
    assert run.stderr == f"error: {expected}\n"
    assert templates == []


def test_function_that_pulls_its_image_is_not_deployed_to_aws_without_udockers_tools(
    tmp_path: Path,
) -> None:
    fdl = tmp_path / "pulls.yaml"
    fdl.write_text(
        "functions: {aws: [{lambda: {name: f, runtime: python3.13, container: {image: alpine}}}]}\n"
    )
    variables = {
        "CDK_DEFAULT_ACCOUNT": "123456789012",
        "UDOCKER_TARBALL": "https://127.0.0.1:1/udocker-englib.tar.gz",
        "XDG_CACHE_HOME": str(tmp_path),
    }
    run, templates = synth(tmp_path, variables=variables, fdl=str(fdl), udocker_tools="")
    assert run.returncode == 2
    assert run.stderr.startswith("error: udocker's tools cannot be fetched (https://127.0.0.1:1/")
    assert "set UDOCKER_TARBALL to its path" in run.stderr
    assert run.stderr.count("\n") == 1
    assert templates == []


def test_context_too_long_for_a_variable_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "context.json").write_text('{"fdl": "of the file"}')
    environ = {
        "CDK_CONTEXT_JSON": '{"fdl": "of the variable", "removal": "retain"}',
        "CONTEXT_OVERFLOW_LOCATION_ENV": str(tmp_path / "context.json"),
    }
    assert cdk_context(environ) == {"fdl": "of the file", "removal": "retain"}
    assert cdk_context({}) == {}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder with an app that only wants to know its interpreter."""
    (tmp_path / "scar_constructs").mkdir()
    (tmp_path / "scar_constructs" / "__init__.py").touch()
    shutil.copy(interpreter.__file__, tmp_path / "scar_constructs")
    (tmp_path / "app.py").write_text(
        "from scar_constructs.interpreter import prepare_interpreter\nprepare_interpreter(__file__)\n"
    )
    return tmp_path


def test_python_without_the_cdk_says_what_to_do(elsewhere: Path) -> None:
    # -S hides the installed packages.
    command = [sys.executable, "-S", "app.py"]
    run = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "cannot synthesize" in run.stderr
    assert "Run `make`" in run.stderr
    assert "Traceback" not in run.stderr


def test_python_without_the_cdk_hands_over_to_the_repositorys_environment(elsewhere: Path) -> None:
    own = elsewhere / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.write_text('#!/bin/sh\necho "own environment: $*"\n')
    own.chmod(0o755)
    command = [sys.executable, "-S", "app.py", "word"]
    run = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=True)
    assert run.stdout == "own environment: app.py word\n"


def test_app_of_an_installation_without_the_cdk_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['aws_cdk'] = None; from scar_constructs.app import main; sys.exit(main())"
    )
    variables = {**os.environ, "CDK_CONTEXT_JSON": json.dumps({"fdl": str(SEED), "udocker_tools": "none"})}
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.strip().endswith('Install it: pip install "scar-cdk[deploy]"')
    assert "Traceback" not in run.stderr
