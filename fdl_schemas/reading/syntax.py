"""The syntax errors of a YAML parser in plain words, at the place of the mistake."""

from __future__ import annotations

import re
from typing import Final

import yaml

from fdl_schemas.diagnostics.diagnostic import Diagnostic, Position, quoted
from fdl_schemas.reading import lookalikes
from fdl_schemas.reading.document import Document, lines_of
from fdl_schemas.reading.schema import is_key_of_the_language

_NO_SPACE = re.compile(r"\s*(?:- +)*(?P<key>\w+):(?P<value>[^\s:].*)")
_NO_COLON = re.compile(r"\s*(?:- +)*(?P<key>\w+)(?:\s+[^\s:#][^:]*)?")
_LONGEST_LINE: Final = 500
"""Longer lines are not searched for mistakes."""


def syntax_problem(error: yaml.YAMLError, text: str, document: Document) -> Diagnostic:
    """The diagnostic for a text that the YAML parser rejects."""
    mark, context_mark = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read")
    context = str(getattr(error, "context", "") or "")
    lines = lines_of(text)
    if (
        "end of stream" in problem
        or "stream end" in problem
        or "expected ',' or" in problem
        or "scanning an a" in context
        or mark is None
    ):
        # The opening quote or bracket is more helpful than the place where the parser stopped.
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
            "this line is indented with a tab",
            Position(position.line, column),
            expected="spaces",
            help="replace the tab with spaces; most editors can insert spaces when you press Tab",
        )
    if "quoted" not in context and "flow" not in context:
        for number in _line_and_the_one_above(lines, position.line):
            found = _mistake_in_line(lines[number - 1], number, document)
            if found is not None:
                return found
    message, expected, advice = _words(problem, context, line, position.column)
    return document.diagnostic("FDL004", message, position, expected=expected, help=advice)


def lookalike_problem(character: str, position: Position, document: Document) -> Diagnostic:
    """The diagnostic for a character that only looks like YAML's punctuation."""
    name, plain = lookalikes.described(character)
    return document.diagnostic(
        "FDL019",
        f"unexpected {name}",
        position,
        expected=plain,
        help="retype the character; to keep it, put the whole value in straight quotes",
    )


def _line_and_the_one_above(lines: list[str], number: int) -> list[int]:
    above = next((other for other in range(number - 1, 0, -1) if lines[other - 1].strip()), None)
    numbers = [number] if above is None else [number, above]
    return [
        one
        for one in numbers
        if len(lines[one - 1]) <= _LONGEST_LINE and not lines[one - 1].lstrip().startswith("#")
    ]


def _mistake_in_line(line: str, number: int, document: Document) -> Diagnostic | None:
    """A mistake that the parser notices only in a later line."""
    if (index := lookalikes.in_line(line)) is not None:
        return lookalike_problem(line[index], Position(number, index + 1), document)
    if (found := _NO_SPACE.fullmatch(line)) and is_key_of_the_language(found["key"]) and ": " not in line:
        return document.diagnostic(
            "FDL004",
            f"missing space after `{found['key']}:`",
            Position(number, found.start("value") + 1, len(found["value"].rstrip())),
            expected="`KEY: VALUE`",
            help=f"write a space after `{found['key']}:`",
        )
    if (found := _NO_COLON.fullmatch(line)) and is_key_of_the_language(found["key"]):
        return document.diagnostic(
            "FDL004",
            f"missing `:` after `{found['key']}`",
            Position(number, found.start("key") + 1, len(found["key"])),
            expected="`KEY: VALUE`",
            help=f"write a `:` and a space after `{found['key']}`",
        )
    return None


def _words(problem: str, context: str, line: str, column: int) -> tuple[str, str, str]:  # noqa: PLR0911
    """Message, what was expected, and what to do."""
    character = line[column - 1 : column]
    if "quoted scalar" in context:
        if "escape" in problem:
            return (
                "unknown escape sequence in double quotes",
                "an escape sequence such as `\\n`, or `\\\\` for a backslash",
                "write `\\\\`, or use single quotes",
            )
        return "the quote that starts here is never closed", f"a closing `{character}`", "close the quote"
    if "flow" in context:
        closing = {"[": "]", "{": "}"}.get(character, "]` or `}")
        return (
            f"the bracket `{character}` is never closed",
            f"`,` between entries, and `{closing}` after the last one",
            f"add `{closing}`, or quote values that contain brackets or commas",
        )
    if "mapping values are not allowed" in problem:
        return (
            "a `:` is not allowed here",
            "one `KEY: VALUE` on each line, with the keys of a map aligned",
            "check the indentation of this line and the one above; quote text that contains `: `",
        )
    if "expected ':'" in problem:
        return "missing `:` after a key", "`KEY: VALUE`", "write a `:` and a space after the key"
    if "alias" in context or "anchor" in context:
        return (
            "a value that starts with `*` or `&` must be quoted",
            "quoted text, or an alias or anchor such as `*name` or `&name`",
            "put the value in quotes",
        )
    if "cannot start any token" in problem:
        return (
            f"unquoted text cannot start with {quoted(character)}",
            "quoted text",
            "put the text in quotes",
        )
    if "special characters" in problem or "control characters" in problem:
        return "a control character is not allowed", "printable text", "remove the invisible character"
    if line[: column - 1].rstrip()[-1:] in ("'", '"', "]", "}"):
        return (
            "unexpected text after a closing quote or bracket",
            "nothing after the value",
            "remove the text, or quote the whole value; in single quotes, write `''` for a quote",
        )
    if not line[: column - 1].strip(" -"):
        return (
            "the indentation of this line does not match that of any line above it",
            "the same indentation for all keys of a map, and for all entries of a list",
            "align the line with the other keys or entries of its map or list",
        )
    return (
        f"invalid YAML: {problem.replace(chr(10), ' ')}",
        "valid YAML",
        "check the indentation and the punctuation of this line",
    )
