"""The rule about `#`: in a path without quotes, ` #` starts a comment, and cuts the path short."""

from __future__ import annotations

from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.model import Function, OscarService
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.findings import Findings


def warn_of_comments(step: Function | OscarService, path: PathInFile, findings: Findings) -> None:
    """Warns of comments that are probably a part of a storage path of the function or service at `path`."""
    for key, entries in (("input", step.inputs), ("output", step.outputs)):
        for index in range(len(entries)):
            at = (*path, key, index, "path")
            comment = findings.document.comment_after(at)
            # A comment that is meant has a space after the `#`.
            if comment is not None and not comment[1:2].isspace():
                written = findings.document.node(at).text
                findings.warning(
                    "FDL057",
                    f"the comment {quoted(comment)} is not part of the path",
                    at,
                    expected="a path in quotes, or a space after the `#` of a comment",
                    help=f'if `#` belongs to the path, quote it: "{written} {comment}"',
                )
