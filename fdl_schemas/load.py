"""The public door: an FDL file goes in, a `Workflow` comes out, or everything that is wrong with the file.

workflow = load_workflow("workflow.yaml")      # raises FdlError
result = check("workflow.yaml")                # never raises for a bad file
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fdl_schemas.build import build
from fdl_schemas.diagnostics import Diagnostic, FdlError, Severity, in_order
from fdl_schemas.findings import Findings
from fdl_schemas.model import Workflow
from fdl_schemas.rules import check_rules
from fdl_schemas.schema import check_shape
from fdl_schemas.source import read


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What there is to say about a file."""

    workflow: Workflow | None
    """None where the file has errors."""
    diagnostics: tuple[Diagnostic, ...]
    """Errors and warnings, most important first."""

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """What stops the deployment."""
        return tuple(found for found in self.diagnostics if found.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What does not."""
        return tuple(found for found in self.diagnostics if found.severity is Severity.WARNING)


def load_workflow(path: str | Path) -> Workflow:
    """Reads and checks an FDL file.

    Raises:
        FdlError: the file has errors. It carries warnings too; `check` gives those of a file without errors.
    """
    result = check(path)
    if result.workflow is None:
        raise FdlError(result.diagnostics)
    return result.workflow


def check(path: str | Path) -> CheckResult:
    """Reads and checks an FDL file, and says everything there is to say about it."""
    try:
        document = read(path)
    except FdlError as error:
        return CheckResult(None, error.diagnostics)
    source = Path(path).absolute()
    findings = Findings(document)
    draft = build(check_shape(findings), source.parent)
    check_rules(draft, findings)
    workflow = None if findings.has_errors else draft.workflow(source)
    return CheckResult(workflow, in_order(findings.diagnostics))
