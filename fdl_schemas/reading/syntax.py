"""What a YAML parser complains about, in a person's words; tabs above all."""

from __future__ import annotations

import yaml

from fdl_schemas.diagnostics.diagnostic import Diagnostic, Position
from fdl_schemas.reading.document import Document, lines_of


def syntax_problem(error: yaml.YAMLError, text: str, document: Document) -> Diagnostic:
    """The diagnostic for a text that the YAML parser does not accept."""
    mark, context_mark = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read")
    lines = lines_of(text)
    if "end of stream" in problem or "stream end" in problem or mark is None:
        # Where the quotes or brackets were opened says more than the end of the file.
        mark = context_mark or mark
    if mark is None:
        offset = getattr(error, "position", 0)
        before = lines_of(text[: offset if isinstance(offset, int) else 0])
        position = Position(len(before), len(before[-1]) + 1)
    else:
        position = Position(min(mark.line, len(lines) - 1) + 1, mark.column + 1)
    line = lines[position.line - 1]
    indentation = line[: len(line) - len(line.lstrip())]
    if "\t" in indentation or line[position.column - 1 : position.column] == "\t":
        column = line.index("\t") + 1
        return document.diagnostic(
            "FDL005",
            "a tab indents this line",
            Position(position.line, column),
            expected="spaces",
            help="YAML is indented by spaces alone; set the editor to insert spaces",
        )
    return document.diagnostic(
        "FDL004",
        f"not YAML: {problem.replace(chr(10), ' ')}",
        position,
        expected="a YAML document",
        help=_advice(problem, error),
    )


def _advice(problem: str, error: yaml.YAMLError) -> str:  # noqa: PLR0911 - one problem, one line
    context = str(getattr(error, "context", "") or "")
    if "mapping values are not allowed" in problem:
        return "check the indentation of this line and the one above; quote a text that holds `: `"
    if "could not find expected ':'" in problem:
        return "a key needs a `:` and a space after it"
    if "escape" in problem:
        return "write `\\\\` for a backslash, or put the text into single quotes"
    if "quoted scalar" in context:
        return "close the quotes"
    if "alias" in context or "anchor" in context:
        return "quote a text that starts with `*` or `&`"
    if "cannot start any token" in problem:
        return "quote a text that starts with `@`, `%` or a backquote; indent by spaces, not by tabs"
    if "flow" in context:
        return "close the bracket or brace, and put a comma between entries"
    if "special characters" in problem or "control characters" in problem:
        return "remove the invisible control character"
    return "check the indentation and the punctuation of this line"
