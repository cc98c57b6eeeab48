"""The changes of a deployment as Markdown, for a comment on a pull request.

The order is that of importance: removed and replaced resources, then permissions, then new and changed
resources. Supporting resources, which scar-cdk adds by itself, are collapsed. The first line is hidden; a
pipeline finds its own comment by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from scar_cli.deployment.changes import (
    KNOWN,
    SEE_PERMISSIONS,
    VERBS,
    Change,
    Changes,
    abbreviated,
    concerns_helpers,
    is_listed,
    word_for,
)
from scar_cli.table import printable

_MOST_ENTRIES = 50
_MOST_DETAILS = 8
_LONGEST_TEXT = 300
_LONGEST_COMMENT = 60_000
"""GitHub rejects comments of more than 65 536 characters."""


def comment(stacks: Sequence[Changes]) -> str:
    """The whole comment, ending with a newline."""
    lines = [marker(stacks[0].stack if stacks else "")]
    for changes in stacks:
        lines += ["", *_stack(changes)]
    text = "\n".join(lines) + "\n"
    if len(text) <= _LONGEST_COMMENT:
        return text
    cut = text[:_LONGEST_COMMENT].rpartition("\n")[0]
    # A <details> that is left open would swallow the sentence.
    end = "\n\n</details>\n" if cut.count("<details>") > cut.count("</details>") else "\n"
    return f"{cut}{end}\nThis is not all: the comment would be too long. Run `scar diff` to see the rest.\n"


def marker(stack: str) -> str:
    """The first line of each comment on this stack; it is not displayed."""
    # Stops a name such as `--> <img …>` from ending the HTML comment early.
    return f"<!-- scar-diff {re.sub('[^A-Za-z0-9-]', '', stack)} -->"


def code(text: str) -> str:
    """The text as an inline code span, whatever its content.

    Stops names, keys and values of a pull request from adding links, mentions, HTML or headings to a comment
    that the pipeline signs: everything in a code span is literal (CommonMark 6.1) except a run of backticks
    as long as its own, and a line break, which `printable` escapes.
    """
    shown = printable(text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…") or " "
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    space = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{space}{shown}{space}{fence}"


def _stack(changes: Changes) -> Iterator[str]:
    title = f"{code(changes.stack)} in {changes.region}"
    if not changes:
        yield f"No changes to {title}."
        return
    yield f"### {title}{' (new stack)' if changes.is_new else ''}"
    hidden_rights = [right for right in changes.rights if concerns_helpers(right[1], changes.helpers)]
    lost = [one for one in changes.resources if one.lost and not one.is_helper]
    seen = [one for one in changes.resources if one not in lost and is_listed(one)]
    rest = [one for one in changes.resources if one not in lost and one not in seen]
    # Permissions of the functions come first: a reviewer has to look at them.
    rights = sorted(
        (right for right in changes.rights if right not in hidden_rights),
        key=lambda right: not right[1].startswith("Functions"),
    )
    order = [*KNOWN]
    lost.sort(key=lambda one: order.index(one.kind) if one.kind in order else len(order))
    lost.sort(key=lambda one: one.kind != "AWS::S3::Bucket")  # files matter most
    yield from _section("Destructive changes", (f"{_what(one)}: {one.lost}{_details(one)}" for one in lost))
    yield from _section("Permissions", (_right(*right) for right in rights))
    yield from _section("New and changed", (f"{VERBS[one.sign]} {_what(one)}{_details(one)}" for one in seen))
    count = len(rest) + len(hidden_rights)
    if count:
        yield from ("", "<details>")
        yield f"<summary>{count} {'change' if count == 1 else 'changes'} to supporting resources</summary>"
        entries = [f"{VERBS[one.sign]} {_what(one)}{_details(one)}" for one in rest]
        yield from _section(None, [*entries, *(_right(*right) for right in hidden_rights)])
        yield from ("", "</details>")


def _section(title: str | None, entries: Iterable[str]) -> Iterator[str]:
    entries = list(entries)
    if not entries:
        return
    if title is not None:
        yield from ("", f"**{title}**")
    yield ""
    yield from (f"- {entry}" for entry in entries[:_MOST_ENTRIES])
    if (more := len(entries) - _MOST_ENTRIES) > 0:
        yield f"- and {more} more: run `scar diff` to see them"


def _what(one: Change) -> str:
    return f"{word_for(one.kind)} {code(one.name)}"


def _details(one: Change) -> str:
    # Permissions have a section of their own.
    told = [detail for detail in one.details if not detail.endswith(SEE_PERMISSIONS)]
    if not told:
        return ""
    shown = ", ".join(code(detail) for detail in told[:_MOST_DETAILS])
    more = len(told) - _MOST_DETAILS
    return f" ({shown}{f', and {more} more' if more > 0 else ''})"


def _right(sign: str, text: str) -> str:
    return f"{'added' if sign == '+' else 'removed'}: {code(abbreviated(text))}"
