"""A workflow with more folders than a policy has room for."""

from __future__ import annotations

import json
from pathlib import Path

from fdl_schemas.model import Container, Function, StorageEntry, Workflow
from tests.synth.synthesized import Synthesize


def test_rights_on_markers_stay_below_the_limit_of_a_policy(synthesize: Synthesize, tmp_path: Path) -> None:
    functions = [
        Function(
            name=f"f{number}",
            container=Container(image="alpine"),
            outputs=tuple(StorageEntry("many", f"{number}/{'x' * 100}/{folder}") for folder in range(30)),
        )
        for number in range(2)
    ]
    functions.append(
        Function(name="last", container=Container(image="alpine"), outputs=(StorageEntry("few", "out"),))
    )
    found = synthesize(Workflow(source=tmp_path / "w.yaml", functions=tuple(functions)))
    statements = found.statements("BucketFoldersProvider")
    resources = json.dumps([statement["Resource"] for statement in statements if "s3:" in str(statement)])
    assert len(json.dumps(statements)) < 10_240
    assert "/*/" in resources
    assert "/out/" in resources
    assert found.findings() == []
