"""cfn-lint. It takes a second to load, so it is loaded by the test that needs it."""

from __future__ import annotations

from pathlib import Path


def lint(template: Path, *ignored: str) -> list[str]:
    """What cfn-lint finds in a template in us-east-1; `ignored` are rules that do not count."""
    from cfnlint import lint_file
    from cfnlint.config import ManualArgs

    found = lint_file(template, ManualArgs(ignore_checks=list(ignored), regions=["us-east-1"]))
    return [str(match) for match in found]
