"""Whatever valid document: it becomes templates that cfn-lint passes and that deploy in moto, with policies
without findings, and the CDK has nothing to say.

`FDL_EXAMPLES=2000 pytest tests/synth/test_generated_workflows.py` looks longer.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from fdl_schemas.load import check
from tests.synth.generated import VARIABLES, documents, write_files
from tests.synth.synthesis_worker import findings

EXAMPLES = int(os.environ.get("FDL_EXAMPLES", "3"))
IN_THIS_PROCESS = 10
"""So many documents are synthesized in this process, which has loaded the CDK and the linters already."""
DOCUMENTS_OF_A_WORKER = 400
REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(300 + 30 * EXAMPLES)


class Synthesizer:
    """Synthesizes many documents in another process, and in a new one every now and then: the CDK forgets
    nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._errors = folder / "stderr"
        self._worker: subprocess.Popen[str] | None = None
        self._left = 0

    def findings(self, fdl: Path) -> list[str]:
        """What linters and the CDK say of the templates of an FDL file."""
        if EXAMPLES <= IN_THIS_PROCESS:
            errors = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
            with redirect_stderr(errors):
                found = list(findings(fdl, VARIABLES, self._folder))
            errors.seek(0)
            return _with_errors(found, errors.read())
        if self._left == 0 or self._worker is None:
            self.stop()
            self._start()
        worker = self._worker
        assert worker is not None and worker.stdin is not None and worker.stdout is not None
        said_before = self._errors.stat().st_size
        worker.stdin.write(json.dumps({"fdl": str(fdl), "environment": VARIABLES}) + "\n")
        worker.stdin.flush()
        answer = worker.stdout.readline()
        self._left -= 1
        said = self._errors.read_bytes()[said_before:].decode(errors="replace")
        assert answer, f"the worker ended: {said}"
        return _with_errors(json.loads(answer), said)

    def _start(self) -> None:
        with self._errors.open("ab") as errors:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "tests.synth.synthesis_worker"],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._left = DOCUMENTS_OF_A_WORKER

    def stop(self) -> None:
        """End the process."""
        if self._worker is not None and self._worker.stdin is not None:
            self._worker.stdin.close()
            self._worker.wait()
        self._worker = None


def _with_errors(found: list[str], said: str) -> list[str]:
    return found + ([f"on standard error: {said}"] if said else [])


@pytest.fixture(scope="module")
def synthesizer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synthesizer]:
    found = Synthesizer(tmp_path_factory.mktemp("synthesizer"))
    yield found
    found.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("generated")
    write_files(made)
    return made


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(document=documents())
def test_valid_documents_become_templates_without_findings(
    synthesizer: Synthesizer, folder: Path, document: dict[str, Any]
) -> None:
    file = folder / "generated workflow.yaml"
    # JSON is YAML in which nothing can be mistaken: PyYAML writes 1e100, a text, without quotes.
    file.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
    checked = check(file)
    assert [found.render() for found in checked.errors] == []
    assert synthesizer.findings(file) == []
