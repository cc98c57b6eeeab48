"""The FDL files of SCAR's own examples are valid, and synthesize without findings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from fdl_schemas.load import load_workflow
from fdl_schemas.model import Workflow
from tests.linting import lint
from tests.oci_images import Image, docker_save
from tests.synth.synthesized import Synthesize

_PARTS = re.split(r"^--- # (.*)\n", Path(__file__).with_name("scar_examples.yaml").read_text(), flags=re.M)
EXAMPLES = dict(zip(_PARTS[1::2], _PARTS[2::2], strict=True))


def completed(name: str, folder: Path) -> Path:
    """The FDL file of an example with the files that it names, as its README describes."""
    fdl = EXAMPLES[name].replace("<DockerHub repo/image>", "user/scar-mpi").replace("/tmp/", f"{folder}/")
    for script in re.findall(r"(?:init|run)_script: (.*)", fdl):
        (folder / script).write_text("#!/bin/sh\n")
    for archive in re.findall(r"image_file: (.*)", fdl):
        docker_save(folder / archive, Image([], architecture=""))
    file = folder / "workflow.yaml"
    file.write_text(fdl)
    return file


@pytest.fixture(scope="module")
def workflows(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Workflow]:
    return {name: load_workflow(completed(name, tmp_path_factory.mktemp("scar"))) for name in EXAMPLES}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_of_scar_is_valid(name: str, workflows: Mapping[str, Workflow]) -> None:
    names = [function.name for function in workflows[name].functions]
    assert names == re.findall(r"name: (scar-.*)", EXAMPLES[name].partition("oscar:")[0])


def test_examples_of_scar_synthesize_without_findings(
    workflows: Mapping[str, Workflow], synthesize: Synthesize, tmp_path: Path
) -> None:
    """All in one stack, which takes a tenth of the time."""
    functions = {function.name: function for one in workflows.values() for function in one.functions}
    (again,) = workflows["mpi/batch.yaml"].functions  # both files define `scar-mpi`
    functions["scar-mpi-batch"] = replace(again, name="scar-mpi-batch")
    synthesized = synthesize(Workflow(source=tmp_path / "scar.yaml", functions=tuple(functions.values())))
    assert synthesized.said() == []
    assert synthesized.findings() == []
    assert lint(synthesized.folder / "workflow.template.json") == []
    environments = synthesized.of_type("AWS::Batch::ComputeEnvironment").values()
    kinds = sorted(one["ComputeResources"]["Type"] for one in environments)
    assert kinds == ["EC2", "EC2", "FARGATE"], "with a GPU, on several nodes, and neither"
