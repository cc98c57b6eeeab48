"""Loads an FDL file as a `Workflow`, or reports everything that is wrong with it.

workflow = load_workflow("workflow.yaml")      # raises FdlError
result = check("workflow.yaml")                # never raises for an invalid file
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fdl_schemas.build import Draft, build
from fdl_schemas.diagnostics.diagnostic import Diagnostic, FdlError, Severity, in_order
from fdl_schemas.model import Workflow
from fdl_schemas.reading import source
from fdl_schemas.reading.document import Document
from fdl_schemas.reading.findings import Findings
from fdl_schemas.reading.schema import check_shape
from fdl_schemas.rules.rules import check_rules

MAX_BYTES = source.MAX_BYTES
"""Maximum size of an FDL file."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of checking a file."""

    workflow: Workflow | None
    """None if the file has errors."""
    diagnostics: tuple[Diagnostic, ...]
    """Errors and warnings, most important first."""
    draft: Draft | None = None
    """The parts of the file without errors, enough for a diagram. None if the file is not YAML."""

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The diagnostics that stop the deployment."""
        return tuple(found for found in self.diagnostics if found.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """The diagnostics that do not stop the deployment."""
        return tuple(found for found in self.diagnostics if found.severity is Severity.WARNING)


def load_workflow(path: str | Path) -> Workflow:
    """Reads and checks an FDL file.

    Raises:
        FdlError: the file has errors. It includes warnings; `check` returns those of a file without errors.
    """
    result = check(path)
    if result.workflow is None:
        raise FdlError(result.diagnostics)
    return result.workflow


def check(path: str | Path) -> CheckResult:
    """Reads and checks an FDL file, and returns all diagnostics."""
    try:
        document = source.read(path)
    except FdlError as error:
        return CheckResult(None, error.diagnostics)
    return _check(document, Path(path).absolute())


def check_text(content: bytes, path: str | Path, *, called: str | None = None) -> CheckResult:
    """Checks content that is not in a file, such as standard input.

    Args:
        content: the file's bytes.
        path: the path that the file would have; paths in it are relative to its folder.
        called: the file's name in diagnostics [default: the path].
    """
    try:
        document = source.parse(content, called or str(path))
    except FdlError as error:
        return CheckResult(None, error.diagnostics)
    return _check(document, Path(path).absolute())


def _check(document: Document, path: Path) -> CheckResult:
    findings = Findings(document)
    draft = build(check_shape(findings), path.parent)
    check_rules(draft, findings)
    workflow = None if findings.has_errors else draft.workflow(path)
    return CheckResult(workflow, in_order(findings.diagnostics), draft)
