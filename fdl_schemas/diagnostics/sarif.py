"""Diagnostics as SARIF 2.1.0, the format that code hosts display next to the lines.

Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0"; section numbers below
refer to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from fdl_schemas.diagnostics.codes import Explanation, explanations
from fdl_schemas.diagnostics.diagnostic import FIRST_WARNING, Diagnostic, address

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"


def sarif(diagnostics: Iterable[Diagnostic], *, folder: Path, version: str) -> dict[str, Any]:
    """A SARIF log with one run.

    Args:
        diagnostics: those of any number of files.
        folder: the root of the repository on the code host; paths are relative to it.
        version: the version of this project.
    """
    found = list(diagnostics)
    codes = sorted({diagnostic.code for diagnostic in found})
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "scar validate",
                        "semanticVersion": version,
                        "rules": [_rule(code) for code in codes],
                    }
                },
                # Columns count characters; the default would be UTF-16 units (3.14.17).
                "columnKind": "unicodeCodePoints",
                # Without the address of the folder, so that the log does not depend on the machine (3.14.14).
                "originalUriBaseIds": {"SRCROOT": {"description": {"text": "The current folder."}}},
                "results": [_result(diagnostic, codes, folder) for diagnostic in found],
            }
        ],
    }


def _rule(code: str) -> dict[str, Any]:
    explanation = explanations()[code]
    return {
        "id": code,
        "shortDescription": {"text": f"{explanation.title}."},
        "fullDescription": {"text": explanation.plain},
        "help": {
            "text": _help(explanation, explanation.bad, explanation.good),
            "markdown": _help(
                explanation, _code(explanation, explanation.bad), _code(explanation, explanation.good)
            ),
        },
        "helpUri": address(code),
        "defaultConfiguration": {"level": "warning" if code >= FIRST_WARNING else "error"},
    }


def _help(explanation: Explanation, bad: str, good: str) -> str:
    return f"{explanation.plain}\n\nFor example:\n\n{bad}\nBetter:\n\n{good}"


def _code(explanation: Explanation, text: str) -> str:
    return f"```{explanation.language}\n{text}```\n"


def _result(diagnostic: Diagnostic, codes: list[str], folder: Path) -> dict[str, Any]:
    text = f"{diagnostic.message}."
    text += "".join(
        f" {name}: {value}."
        for name, value in (("Expected", diagnostic.expected), ("Help", diagnostic.help))
        if value
    )
    location: dict[str, Any] = {"artifactLocation": _artifact(diagnostic.file, folder)}
    if diagnostic.line is not None and diagnostic.column is not None:
        location["region"] = {
            "startLine": diagnostic.line,
            "startColumn": diagnostic.column,
            "endLine": diagnostic.line,
            "endColumn": diagnostic.column + max(1, diagnostic.length),  # exclusive (3.30.8)
        }
    return {
        "ruleId": diagnostic.code,
        "ruleIndex": codes.index(diagnostic.code),
        "level": diagnostic.severity.value,
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
    }


def _artifact(file: str, folder: Path) -> Mapping[str, str]:
    """The path relative to the folder, or a `file://` URI if the file is outside it."""
    path = folder / file
    try:
        relative = path.resolve().relative_to(folder.resolve())
    except (ValueError, OSError, RuntimeError):
        # Diagnostics can also be about invalid paths, such as one with a NUL byte.
        return {"uri": "file://" + quote(path.as_posix(), errors="replace")}
    return {"uri": quote(relative.as_posix(), errors="replace"), "uriBaseId": "SRCROOT"}
