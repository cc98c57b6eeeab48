"""Files of other programs that are given instead of an FDL file."""

from __future__ import annotations

import re
from typing import Final

from fdl_schemas.diagnostics.diagnostic import Diagnostic, Position
from fdl_schemas.reading.document import Document, DocumentNode, lines_of

_FORMATS: Final = (
    ("a CloudFormation template", ("AWSTemplateFormatVersion",)),
    ("a CloudFormation template", ("Resources",)),
    ("a Serverless Framework file", ("service", "provider")),
    ("a Kubernetes manifest", ("apiVersion", "kind")),
    ("a GitHub Actions workflow", ("jobs",)),
    ("a Docker Compose file", ("services",)),
)
"""What a file is, and the top-level keys that it is recognized by."""
_SERVERLESS: Final = 2
_DOCKERFILE = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*(?:ARG [^\n]*\n)*FROM \S+")
_NEEDS_A_FUNCTION: Final = "an FDL file, which is YAML with the key `functions`"
_CREATE_ONE: Final = "give the path of your FDL file; `scar new NAME` creates one to start from"
_NAME_THE_SCRIPT: Final = "give the path of the FDL file, and name the script there: `init_script: FILE`"
_NAME_THE_IMAGE: Final = "give the path of the FDL file, and name the image there: `image: NAME`"


def other_format(text: str, root: DocumentNode | None, document: Document) -> Diagnostic | None:
    """The diagnostic for a file of another program; None for what may be an FDL file.

    Args:
        text: the file.
        root: what YAML reads; None if the text is not YAML.
        document: makes the diagnostic.
    """
    if root is not None and isinstance(root.data, dict):
        for what, keys in _FORMATS:
            if all(key in root.data for key in keys) and (
                "functions" not in root.data or len(keys) == _SERVERLESS
            ):
                return _diagnostic(document, what, root.keys[keys[0]], _CREATE_ONE)
        return None
    first = Position(1, 1, max(1, len(lines_of(text[:200])[0])))
    if text.startswith("#!"):
        return _diagnostic(document, "a script", first, _NAME_THE_SCRIPT)
    if _DOCKERFILE.match(text):
        return _diagnostic(document, "a Dockerfile", first, _NAME_THE_IMAGE)
    return None


def _diagnostic(document: Document, what: str, position: Position, advice: str) -> Diagnostic:
    return document.diagnostic(
        "FDL018", f"this is {what}, not an FDL file", position, expected=_NEEDS_A_FUNCTION, help=advice
    )
